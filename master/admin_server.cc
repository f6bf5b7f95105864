#include "master/admin_server.h"

#include <microhttpd.h>

#include <utility>

#include "master/error.h"

namespace master {
namespace {

constexpr unsigned kMaxConnections = 32;
constexpr unsigned kTimeoutSeconds = 10;    // without a byte
constexpr size_t kConnectionBytes = 16384;  // for a request's head

void add_header(MHD_Response* response, const char* name, const std::string& value) {
  MHD_add_response_header(response, name, value.c_str());
}

MHD_Result respond(MHD_Connection* connection, const AdminPage& page) {
  // The library takes a pointer to what it only reads.
  MHD_Response* response =
      MHD_create_response_from_buffer(page.body.size(), const_cast<char*>(page.body.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, page.content_type);
  add_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
  if (page.status == MHD_HTTP_METHOD_NOT_ALLOWED) add_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
  const MHD_Result queued = MHD_queue_response(connection, page.status, response);
  MHD_destroy_response(response);
  return queued;
}

// Called once when the head has come, for each piece of a body, and at the end.
MHD_Result on_request(void* context, MHD_Connection* connection, const char* url, const char* method, const char*,
                      const char*, size_t* body_size, void** seen) {
  static char once;
  if (*seen == nullptr) {
    *seen = &once;
    return MHD_YES;
  }
  if (*body_size != 0) {
    *body_size = 0;
    return MHD_YES;
  }
  const std::string_view how = method;
  if (how != MHD_HTTP_METHOD_GET && how != MHD_HTTP_METHOD_HEAD) {
    return respond(connection, {MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "GET or HEAD\n"});
  }
  return respond(connection, (*static_cast<AdminServer::Answer*>(context))(url));
}

MHD_Daemon* start(base::UniqueFd listener, AdminServer::Answer& answer) {
  MHD_Daemon* daemon =
      MHD_start_daemon(MHD_USE_EPOLL, 0, nullptr, nullptr, on_request, &answer, MHD_OPTION_LISTEN_SOCKET,
                       listener.get(), MHD_OPTION_CONNECTION_LIMIT, kMaxConnections, MHD_OPTION_CONNECTION_TIMEOUT,
                       kTimeoutSeconds, MHD_OPTION_CONNECTION_MEMORY_LIMIT, kConnectionBytes, MHD_OPTION_END);
  if (daemon == nullptr) throw Error("cannot start the admin HTTP server");
  listener.release();
  return daemon;
}

int epoll_of(MHD_Daemon* daemon) {
  const MHD_DaemonInfo* info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD);
  if (info == nullptr) throw Error("the admin HTTP server has no epoll descriptor");
  return info->epoll_fd;
}

}  // namespace

void AdminServer::Stop::operator()(MHD_Daemon* daemon) const {
  MHD_stop_daemon(daemon);
}

AdminServer::AdminServer(loop::Loop& loop, base::UniqueFd listener, Answer answer)
    : answer_(std::move(answer)),
      daemon_(start(std::move(listener), answer_)),
      poll_(loop, epoll_of(daemon_.get())),
      timer_(loop) {
  poll_.start(
      loop::kReadable, [](void* self, int) { static_cast<AdminServer*>(self)->run(); }, this);
}

// What the library has put off, or a time-out, brings no event of the descriptor.
void AdminServer::run() {
  MHD_run(daemon_.get());
  MHD_UNSIGNED_LONG_LONG wait = 0;
  if (MHD_get_timeout(daemon_.get(), &wait) == MHD_YES) {
    timer_.start(wait, 0, [this] { run(); });
  } else {
    timer_.stop();
  }
}

}  // namespace master
