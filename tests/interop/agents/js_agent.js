// MQTT.js behind the agent protocol (see mm_agents.py): node js_agent.js <package> <protocol version>
'use strict'
const fs = require('fs')
const os = require('os')
const path = require('path')
const readline = require('readline')

const mqtt = require(path.join(__dirname, '..', 'node_modules', process.argv[2]))
const version = Number(process.argv[3])
const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'mm-agent-'))
const clients = new Map()
let files = 0

process.on('exit', () => fs.rmSync(directory, { recursive: true, force: true }))

const say = (name, word, fields = []) =>
  process.stdout.write([name, word, ...fields.map(([key, value]) => `${key}=${value}`)].join('\t') + '\n')

function parsePayload (text = '') {
  return text[0] === '@' ? fs.readFileSync(text.slice(1)) : Buffer.from(text, 'hex')
}

function describePayload (payload) {
  if (payload.length <= 4096) return payload.toString('hex')
  const file = path.join(directory, String(files++))
  fs.writeFileSync(file, payload)
  return '@' + file
}

// Properties of a PUBLISH or a will, if any.
function properties (fields) {
  const result = {}
  if ('content_type' in fields) result.contentType = fields.content_type
  if ('response_topic' in fields) result.responseTopic = fields.response_topic
  if ('correlation_data' in fields) result.correlationData = Buffer.from(fields.correlation_data, 'hex')
  if ('expiry' in fields) result.messageExpiryInterval = Number(fields.expiry)
  if ('alias' in fields) result.topicAlias = Number(fields.alias)
  if ('delay' in fields) result.willDelayInterval = Number(fields.delay)
  if (fields.user.length) {
    result.userProperties = Object.create(null)
    for (const one of fields.user) {
      const [name, value] = one.split(':')
      result.userProperties[name] = name in result.userProperties ? [].concat(result.userProperties[name], value) : value
    }
  }
  return result
}

function onMessage (name, topic, payload, packet) {
  const fields = [['topic', topic], ['qos', packet.qos], ['retain', Number(packet.retain)], ['dup', Number(packet.dup)],
    ['payload', describePayload(payload)]]
  const p = packet.properties || {}
  if (p.contentType !== undefined) fields.push(['content_type', p.contentType])
  if (p.responseTopic !== undefined) fields.push(['response_topic', p.responseTopic])
  if (p.correlationData !== undefined) fields.push(['correlation_data', p.correlationData.toString('hex')])
  if (p.messageExpiryInterval !== undefined) fields.push(['expiry', p.messageExpiryInterval])
  for (const id of [].concat(p.subscriptionIdentifier ?? [])) fields.push(['id', id])
  for (const [key, value] of Object.entries(p.userProperties || {})) {
    for (const one of [].concat(value)) fields.push(['user', `${key}:${one}`])
  }
  say(name, 'message', fields)
}

function connect (name, fields) {
  const options = {
    host: '127.0.0.1', port: Number(fields.port), protocolVersion: version, clientId: fields.id,
    clean: fields.clean !== '0', keepalive: 60, reconnectPeriod: 0, connectTimeout: 10000, resubscribe: false
  }
  if (version === 3) options.protocolId = 'MQIsdp'
  if (version === 5) {
    options.properties = {}
    if ('expiry' in fields) options.properties.sessionExpiryInterval = Number(fields.expiry)
    if ('alias_max' in fields) {
      options.properties.topicAliasMaximum = Number(fields.alias_max)
      options.topicAliasMaximum = Number(fields.alias_max) // where version 4 looks for it
    }
    if ('receive_max' in fields) options.properties.receiveMaximum = Number(fields.receive_max)
  }
  if ('will_topic' in fields) {
    options.will = { topic: fields.will_topic, payload: parsePayload(fields.will_payload), qos: 1, retain: false }
  }
  const client = mqtt.connect(options)
  clients.set(name, client)
  let code = 0
  client.on('connect', (packet) => say(name, 'ok', [['session_present', Number(packet.sessionPresent)]]))
  client.on('message', (topic, payload, packet) => onMessage(name, topic, payload, packet))
  client.on('disconnect', (packet) => { code = packet.reasonCode })
  client.on('error', (error) => say(name, 'error', [['text', error.message]]))
  client.on('close', () => say(name, 'closed', [['code', code]]))
}

const answer = (name) => (error) =>
  error ? say(name, 'error', [['text', error.message]]) : say(name, 'ok')

const commands = {
  connect,
  subscribe (name, fields) {
    const options = { qos: Number(fields.qos) }
    if ('identifier' in fields) options.properties = { subscriptionIdentifier: Number(fields.identifier) }
    clients.get(name).subscribe(fields.filter, options, answer(name))
  },
  unsubscribe (name, fields) {
    clients.get(name).unsubscribe(fields.filter, answer(name))
  },
  publish (name, fields) {
    const options = { qos: Number(fields.qos), retain: fields.retain === '1' }
    if (version === 5) options.properties = properties(fields)
    clients.get(name).publish(fields.topic, parsePayload(fields.payload), options, answer(name))
  },
  burst (name, fields) {
    const count = Number(fields.count)
    let left = count
    for (let i = 0; i < count; ++i) {
      clients.get(name).publish(fields.topic, String(i), { qos: Number(fields.qos) }, (error) => {
        if (error) return say(name, 'error', [['text', error.message]])
        if (--left === 0) say(name, 'ok')
      })
    }
  },
  close (name) {
    clients.get(name)?.end(true)
    clients.delete(name)
  },
  disconnect (name) {
    clients.get(name).end(false, {}, () => say(name, 'ok'))
  }
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const [name, word, ...rest] = line.split('\t')
  const fields = { user: [] }
  for (const one of rest) {
    const at = one.indexOf('=')
    const [key, value] = [one.slice(0, at), one.slice(at + 1)]
    if (key === 'user') fields.user.push(value)
    else fields[key] = value
  }
  commands[word](name, fields)
}).on('close', () => process.exit(0))
