// One host of aedes, as its packages for Redis document it: node server.js PORT REDIS_PORT
import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import persistence from 'aedes-persistence-redis'
import mqemitter from 'mqemitter-redis'

const [port, redisPort] = process.argv.slice(2).map(Number)
const redis = { host: '127.0.0.1', port: redisPort }
const broker = await Aedes.createBroker({ mq: mqemitter(redis), persistence: persistence(redis) })
for (const event of ['clientError', 'connectionError']) {
  broker.on(event, (client, error) => console.error(event, client?.id, error.message))
}
createServer({ noDelay: true }, broker.handle).listen(port, '127.0.0.1')
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0))
