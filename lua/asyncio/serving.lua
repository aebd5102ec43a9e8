--- Servers: where they listen, and how. Loaded when it is first used.
-- @module asyncio.serving
local check = require "asyncio.check"
local core = require "asyncio.core"
local sockets = require "asyncio.sockets"
require "asyncio.connecting" -- later there may be no descriptors for that, or another root

local serving = {}

local BACKLOG = { "backlog", "integer", 0, 0x7fffffff }
local SERVE = {
  { "start_serving", "boolean" }, { "close_timeout", "seconds" }, { "stop_grace", "seconds" },
  { "max_connections", "integer", 1, 0x7fffffff },
}
local LISTEN_OF_TCP = { sockets.FAMILY, { "reuse_address", "boolean" }, { "reuse_port", "boolean" } }
local LISTEN = { BACKLOG, table.unpack(LISTEN_OF_TCP) }
local CLEANUP = { { "cleanup_socket", "boolean" } }
local LISTEN_UNIX = { BACKLOG, CLEANUP[1] }
local OPTIONS = sockets.options("start_server", 4, nil, sockets.STREAM, sockets.TCP, sockets.SERVE_TLS, SERVE,
  LISTEN)
local BY_NAME = sockets.options("start_server", 2, "all", sockets.PLACE, sockets.STREAM, sockets.TCP,
  sockets.SERVE_TLS, SERVE, LISTEN)
local UNIX_OPTIONS = sockets.options("start_unix_server", 3, nil, sockets.STREAM, sockets.SERVE_TLS, SERVE,
  LISTEN_UNIX)
local UNIX_BY_NAME = sockets.options("start_unix_server", 2, "all", sockets.UNIX_PLACE, sockets.STREAM,
  sockets.SERVE_TLS, SERVE, LISTEN_UNIX)

-- For servers by other names.
serving.SERVE, serving.LISTEN, serving.CLEANUP = SERVE, LISTEN, CLEANUP
serving.PATH = { sockets.UNIX_PLACE[1] }

local function check_handler(handler, name)
  check.callable(handler, 1, name, name .. "(handler, ...)", name .. "(handler(...), ...)")
end

--- The distinct addresses of one host, several, or (nil) all of this machine.
local function listen_addresses(loop, host, port, family)
  local list, seen = {}, {}
  for _, name in ipairs(type(host) == "table" and host or { host or false }) do
    for _, address in ipairs(loop:getaddrinfo(name or nil, port, { family = family, passive = true })) do
      local text = tostring(address)
      if not seen[text] then
        seen[text] = true
        list[#list + 1] = address
      end
    end
  end
  return list
end

local function check_tls(opts, n, name)
  if sockets.names_tls(opts) then require "asyncio.securing".check_server(opts, n, name) end
end

--- A server on a socket that was made elsewhere.
-- prepare: as `serving.start` has it
local function serve_adopted(handler, opts, name, only_unix, prepare, ...)
  sockets.check_alone(opts, 2, name, "fd", ...)
  check_tls(opts, 2, name)
  core.get_running_loop()
  sockets.is_unix(opts.fd, 2, name, "listening", only_unix)
  return core.listen(prepare(handler, opts, 2), {}, opts)
end

local function check_hosts(host, n, name, prefix)
  if math.type(host) and not prefix then
    local right = (": write %s(handler, host, port)"):format(name)
    check.fail(n, name, "host name, list of them or nil", host, right)
  end
  for _, each in ipairs(type(host) == "table" and host or { host }) do
    sockets.check_host(each, n, name, "host name, list of them or nil", prefix)
  end
end

local function same(handler) return handler end

--- A unix socket's server, whose place was given by name.
local function serve_path(handler, opts, name, prepare)
  sockets.check_alone(opts, 2, name, "path", sockets.PLACE, LISTEN_OF_TCP, sockets.TCP)
  local address = sockets.unix_address(sockets.take(opts, "path"), 2, name, "'path': ")
  check_tls(opts, 2, name)
  core.get_running_loop()
  return core.listen(prepare(handler, opts, 2), { address }, opts)
end

-- A server by that name: its arguments are `start_server`'s.
-- options, by_name: the tables of options of its two forms. A `path` may be among those by name
-- prepare(handler, opts, n): gives the handler of connections; may take what isn't start_server's out of the
-- options, which are argument n
function serving.start(name, handler, host, port, opts, options, by_name, prepare)
  local n = 4
  check_handler(handler, name)
  if sockets.by_name(host, port, opts) and type(host[1]) ~= "string" then
    opts, n = by_name(host), 2
    if opts.fd then
      return serve_adopted(handler, opts, name, false, prepare, sockets.PLACE, serving.PATH, LISTEN, CLEANUP)
    elseif opts.path then
      return serve_path(handler, opts, name, prepare)
    end
    sockets.check_alone(opts, 2, name, "host", CLEANUP)
    host, port = sockets.take(opts, "host"), sockets.take(opts, "port")
    check_hosts(host, 2, name, "'host': ")
    port = sockets.check_port(port, 2, name, "'port': ")
  else
    check_hosts(host, 2, name)
    port = sockets.check_port(port, 3, name)
    opts = options(opts)
  end
  check_tls(opts, n, name)
  handler = prepare(handler, opts, n)
  local addresses = listen_addresses(core.get_running_loop(), host, port, opts.family)
  if #addresses == 0 then error(core.GaiError "no address to listen on", 2) end
  return core.listen(handler, addresses, opts)
end

--- Starts a TCP server: `handler(reader, writer)` runs as a task for each connection.
-- When it returns or fails, its connection is sent what is left and closed; a failure is reported, unless
-- it is that its own connection broke, or its `read_timeout` or `write_timeout` (see `Server:stats`).
--
-- The arguments behind the handler may be given by name, in one table, with the options: `{host=, port=}`;
-- or, in place of host and port, `fd`: the descriptor of a socket that listens already, a service manager's.
-- It belongs to the server from then on, which closes it, and it no longer blocks, for whoever shares it,
-- too. When this raises it is still the caller's. A unix socket's file stays.
--
-- With `ssl`, a server's context of `asyncio.ssl`, its connections are of TLS. The handler is called after
-- the handshake, if that has succeeded. One that fails, or takes longer than `ssl_handshake_timeout`, closes
-- its connection: it is counted (see `Server:stats`), reported in debug mode, and holds up nobody.
-- @tparam function handler
-- @param[opt] host a name or number, a list of them, or nil: every address of this machine; or the table
-- @tparam integer port 0: any that is free, see `Server:sockets`
-- @tparam[opt] table opts `limit` (65536), `family` ("any"; "inet", "inet6"), `backlog` (128),
-- `reuse_address` (true), `reuse_port` (false), `nodelay` (true), `keepalive` (false), `start_serving`
-- (true), `close_timeout` (30 s without progress, then a connection that is being closed is aborted),
-- `max_connections` (no limit; at so many accepting pauses, and goes on when one has ended: who comes
-- meanwhile waits in the backlog), `stop_grace` (0 s; otherwise a cancellation, by Ctrl-C say, of
-- `serve_forever` or of the block that has the server is a `Server:shutdown` with so much grace; the next one
-- breaks that off), `read_timeout`, `write_timeout`: as `open_connection`'s, for each connection, `ssl`
-- (none), `ssl_handshake_timeout` (15 s), `max_handshakes` (no limit; so many are under way at a time, the
-- next wait)
-- @treturn Server
-- @usage
-- local function handler(reader, writer)
--   for line in reader:lines() do writer:send(line:reverse(), "\n") end
-- end
-- local server <close> = asyncio.start_server(handler, "127.0.0.1", 0, { backlog = 500 })
-- local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
-- writer:send "stressed\n"
-- print((reader:readline():gsub("\n", ""))) --> desserts
function serving.start_server(handler, host, port, opts)
  return (serving.start("start_server", handler, host, port, opts, OPTIONS, BY_NAME, same))
end

--- Starts a server on a unix socket, otherwise as `start_server`.
-- The file of a server that is gone is replaced; where one listens it raises AddressInUseError. Closing
-- the server removes its file. The arguments behind the handler may be given by name: `{path=}`, or `fd` for
-- a socket that listens already.
-- @tparam function handler
-- @tparam string path on Linux one that begins with a zero byte is an abstract name
-- @tparam[opt] table opts `limit` (65536), `backlog` (128), `start_serving` (true), `close_timeout` (30),
-- `max_connections`, `stop_grace` (0), `read_timeout`, `write_timeout`, `ssl`, `ssl_handshake_timeout`,
-- `max_handshakes`, `cleanup_socket` (true: closing removes the file)
-- @treturn Server
function serving.start_unix_server(handler, path, opts)
  check_handler(handler, "start_unix_server")
  local address
  if sockets.by_name(path, opts) then
    opts = UNIX_BY_NAME(path)
    if opts.fd then
      return serve_adopted(handler, opts, "start_unix_server", true, same, sockets.UNIX_PLACE, LISTEN_UNIX)
    end
    address = sockets.unix_address(sockets.take(opts, "path"), 2, "start_unix_server", "'path': ")
    check_tls(opts, 2, "start_unix_server")
  else
    address = sockets.unix_address(path, 2, "start_unix_server")
    opts = UNIX_OPTIONS(opts)
    check_tls(opts, 3, "start_unix_server")
  end
  return core.listen(handler, { address }, opts)
end

local Server = core.server_class.methods

--- Another context for the connections that come from now on; those that there are keep theirs.
-- For a new certificate, say. A server that was started without `ssl` takes none, and raises Error; one that
-- is closed ClosedError.
-- @tparam SSLContext context a server's, with a certificate or `sni`; and with authorities, if it asks its
-- clients for certificates
function Server:set_ssl_context(context)
  check.self(self, core.server_class, "set_ssl_context")
  require "asyncio.securing".set_ssl_context(self, context)
end

return serving
