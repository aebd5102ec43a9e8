--- `asyncio.http.serve`: where it listens, and with which limits.
-- @module asyncio.http.server
local answer = require "asyncio.http.answer"
local check = require "asyncio.check"
local core = require "asyncio.core"
local errors = require "asyncio.http.errors"
local connection = require "asyncio.http.connection"
local log = require "asyncio.http.log"
local serving = require "asyncio.serving"
local sockets = require "asyncio.sockets"

local http = {}

local HTTP = {
  { "max_header_size", "integer", 64, 1 << 24 }, { "max_body", "any" },
  { "header_timeout", "positive" }, { "idle_timeout", "positive" }, { "body_timeout", "positive" },
  { "max_requests", "integer", 1 }, { "access_log", "any" }, { "server_header", "string" },
  guesses = sockets.SERVE_TLS.guesses
    .. "|keep_alive_timeout keepalive_timeout keepAliveTimeout=idle_timeout|headersTimeout=header_timeout"
    .. "|requestTimeout client_body_timeout=body_timeout|maxHeaderSize=max_header_size"
    .. "|client_max_size max_body_size client_max_body_size=max_body|logger accesslog=access_log"
    .. "|maxRequestsPerSocket=max_requests|server=server_header",
}
local OPTIONS = sockets.options("serve", 4, nil, sockets.STREAM, sockets.TCP, sockets.SERVE_TLS,
  serving.SERVE, serving.LISTEN, HTTP)
local BY_NAME = sockets.options("serve", 2, "all", sockets.PLACE, serving.PATH, sockets.STREAM, sockets.TCP,
  sockets.SERVE_TLS, serving.SERVE, serving.LISTEN, serving.CLEANUP, HTTP)

local function check_log(option, n)
  if option == nil or type(option) == "boolean" or core.type(option) == "StreamWriter" then return end
  if check.is_callable(option) then return end
  check.fail(n, "serve", "'access_log': boolean, StreamWriter or function", option)
end

--- A number of bytes, or nil: no limit.
local function max_body_of(option, n)
  if option == nil then return 2 ^ 20 | 0 end
  if option == false then return nil end
  if math.type(option) == "integer" and option >= 0 then return option end
  return check.fail(n, "serve", "'max_body': integer that isn't negative, or false,", option)
end

local function check_header(text, n)
  if text and text:find "[%c\127]" then
    check.error(n, "serve", "'server_header': a text without control characters expected")
  end
end

--- Takes what is HTTP's out of the options; what is left is start_server's. n: the argument that they are
local function service_of(handler, opts, n)
  local take = sockets.take
  local header_size = take(opts, "max_header_size") or 16384
  local access_log, server_header = take(opts, "access_log"), take(opts, "server_header")
  local max_body = opts.max_body
  opts.max_body = nil
  local most = opts.read_timeout or math.huge
  check_log(access_log, n)
  check_header(server_header, n)
  local service = {
    handler = handler,
    limits = {
      role = "server", max_header_size = header_size, max_line = header_size, max_field_size = header_size,
    },
    max_body = max_body_of(max_body, n) or false,
    header_timeout = math.min(take(opts, "header_timeout") or 10, most),
    idle_timeout = math.min(take(opts, "idle_timeout") or 75, most),
    body_timeout = math.min(take(opts, "body_timeout") or 30, most),
    max_requests = take(opts, "max_requests"),
    read_timeout = opts.read_timeout,
    log = log.sink(access_log),
    scheme = opts.ssl and "https" or "http",
  }
  answer.prepare(service, server_header)
  opts.read_timeout = nil
  opts.write_timeout = opts.write_timeout or 30
  opts.talks = true
  return service
end

--- Starts an HTTP server: `handler(request)` is called for each request, in a task that its connection has.
--
-- What it returns is the answer: a string (`text/plain; charset=utf-8`), or a table of `status` (200),
-- `headers` and `body`: a string, a function that gives pieces until it gives nil, a reader (what has
-- `read(n)`: a StreamReader, an open file, a Response of a client). Or it writes the answer itself
-- (`Request:respond`, `Request:upgrade`) and returns nothing.
--
-- An error that it raises and that has a field `status` is the answer (`http.abort` raises such a one; `body`
-- and `headers` are its own): any other is reported, and answered 500. Once the answer has begun an error
-- aborts the connection. A handler whose client has left ends quietly, and is counted (`reset` of
-- `Server:stats`).
--
-- `Server:shutdown` ends connections that wait for a request; those on which one has begun are answered, with
-- `Connection: close`.
-- @tparam function handler
-- @param[opt] host as `start_server`'s; or a table of `host` and `port`, `path` (of a unix socket) or `fd`,
-- with the options
-- @tparam[opt] integer port
-- @tparam[opt] table opts all of `start_server`'s, with `write_timeout` 30 s unless told
-- (`read_timeout` bounds the three times below); and
-- `max_header_size` (16384 bytes of the request's line and fields; more is answered 431, a line alone that is
-- too long 414), `max_body` (1 MiB, false: no limit; a handler that reads more gets BodyTooLarge, 413),
-- `header_timeout` (10 s from the first byte, or the connection's begin, to the head's end: 408, or silence
-- where nothing came), `idle_timeout` (75 s between two requests), `body_timeout` (30 s without a byte: 408),
-- `max_requests` (of a connection; no limit), `access_log` (true: a line to stderr for each answer; a writer
-- that gets it; or a function, which gets a table: `peer method target version host status bytes seconds time
-- referer user_agent`), `server_header` (none: the Server field of all answers)
-- @treturn Server `start_server`'s
-- @function http.serve
-- @usage
-- local http = require "asyncio.http"
-- local server <close> = http.serve(function(request)
--   if request.path == "/" then return "hello world\n" end
--   http.abort(404)
-- end, "127.0.0.1", 0)
-- local address = server:sockets()[1]
-- local reader, writer <close> = asyncio.open_connection(address.host, address.port)
-- writer:send "GET / HTTP/1.0\r\n\r\n"
-- print(reader:read():match "\r\n\r\n(.-)\n") --> hello world
-- server:close()
function http.serve(handler, host, port, opts)
  local function prepare(_, taken, n)
    local service = service_of(handler, taken, n)
    return function(reader, writer) connection.serve(service, reader, writer) end
  end
  return (serving.start("serve", handler, host, port, opts, OPTIONS, BY_NAME, prepare))
end

local function check_abort(status, body, headers)
  if math.type(status) ~= "integer" or status < 300 or status > 599 then
    check.fail(1, "abort", "status from 300 to 599", status)
  end
  if body ~= nil and type(body) ~= "string" then check.fail(2, "abort", "string or nil", body) end
  if headers ~= nil and type(headers) ~= "table" then
    check.fail(3, "abort", "table of headers or nil", headers)
  end
end

--- Ends a handler with an answer: raises an HTTPError with these fields.
-- @tparam integer status 300 to 599
-- @tparam[opt] string body a text; without it the status and its name
-- @tparam[opt] table headers
-- @function http.abort
-- @usage
-- local http = require "asyncio.http"
-- print(select(2, pcall(http.abort, 404)).status) --> 404
function http.abort(status, body, headers)
  check_abort(status, body, headers)
  local reason = require "asyncio.parsers".reason(status)
  error(errors.HTTPError {
    message = ("%d %s"):format(status, reason or "error"), status = status, body = body, headers = headers,
  }, 0)
end

return http
