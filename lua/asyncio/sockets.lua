--- What connecting and listening share: the options of sockets, and checks of arguments.
-- @module asyncio.sockets
local check = require "asyncio.check"
local core = require "asyncio.core"

local sockets = {}

local LONGEST_HOST = 1024 -- bytes; NI_MAXHOST has one more

local HOST, PORT, FD = { "host", "any" }, { "port", "integer", 0, 65535 }, { "fd", "integer", 0, 0x7fffffff }

local PROBES = check.options {
  "keepalive", 3, { "idle", "integer", 1, 32767 }, { "interval", "integer", 1, 32767 },
  { "count", "integer", 1, 127 },
}

-- Lists of options: how each stream goes on, each TCP socket; how calls name their place.
sockets.STREAM = {
  { "limit", "integer", 1, math.maxinteger // 4 },
  { "read_timeout", "positive" }, { "write_timeout", "positive" },
}
sockets.TCP = { { "nodelay", "boolean" }, { "keepalive", "switch", PROBES } }
sockets.PORT, sockets.FAMILY = PORT, { "family", "choice", "inet|inet6|any" }
sockets.PLACE = { HOST, PORT, FD }
sockets.UNIX_PLACE = { { "path", "string" }, FD }

-- TLS, of connections and of servers; without it none of securing.lua is loaded.
-- What others call it, and what is the context's, is told apart (check.lua).
local SSL = "tls secure ssl_context tls_context sslcontext context ctx=ssl"
local OF_CONTEXT = "|cafile capath cadata ca cacert ca_certs certfile keyfile cert certificate key password "
  .. "verify verify_mode check_hostname insecure ciphers ciphersuites alpn alpn_protocols minimum_version "
  .. "maximum_version keylog_filename num_tickets crlfile ignore_unexpected_eof protocol%s="
  .. "that is an option of ssl.%s, whose context is the option 'ssl'"

sockets.TLS = {
  { "ssl", "any" }, { "server_hostname", "string" }, { "ssl_handshake_timeout", "positive" },
  guesses = SSL .. "|servername server_name sni=server_hostname|handshake_timeout=ssl_handshake_timeout"
    .. OF_CONTEXT:format("", "create_default_context"),
}
sockets.SERVE_TLS = {
  { "ssl", "any" }, { "ssl_handshake_timeout", "positive" }, { "max_handshakes", "integer", 1, 0x7fffffff },
  guesses = SSL .. "|handshake_timeout=ssl_handshake_timeout"
    .. OF_CONTEXT:format(" sni", "create_server_context")
    .. "|server_hostname=that is for clients; a server's names are the option 'sni' of its context",
}

--- Writer → the host that it was connected to, whose name start_tls checks.
sockets.hosts = setmetatable({}, { __mode = "k" })

--- Whether the options say anything of TLS.
function sockets.names_tls(opts)
  return opts.ssl ~= nil or opts.server_hostname ~= nil or opts.ssl_handshake_timeout ~= nil
    or opts.max_handshakes ~= nil
end

--- A table of options made of lists of them.
function sockets.options(call, arg, form, ...)
  local spec = { call, arg, form = form }
  for _, list in ipairs { ... } do
    table.move(list, 1, #list, #spec + 1, spec)
    if list.guesses then spec.guesses = list.guesses end
  end
  return check.options(spec)
end

--- Whether a call's arguments were given by name, in one table.
function sockets.by_name(first, second, third)
  return type(first) == "table" and getmetatable(first) == nil and second == nil and third == nil
end

--- Takes an argument that was given by name out of the options.
function sockets.take(opts, key)
  local value = opts[key]
  opts[key] = nil
  return value
end

--- The options in these lists don't go with that one: those for making a socket not with one that was made
-- elsewhere.
function sockets.check_alone(opts, n, name, key, ...)
  for _, list in ipairs { ... } do
    for _, spec in ipairs(list) do
      if spec[1] ~= key and opts[spec[1]] ~= nil then
        check.error(n, name, ("'%s' does not go with '%s'"):format(spec[1], key))
      end
    end
  end
end

--- Whether a socket that was made elsewhere is a unix socket; an error when it isn't what is wanted.
function sockets.is_unix(fd, n, name, wanted, only)
  local family, what = core.socket_family(fd, wanted == "listening")
  if family and only and family ~= "unix" then family, what = nil, "no unix socket" end
  if not family then
    check.error(n, name, ("'fd': a %s stream socket expected, descriptor %d is %s"):format(wanted, fd, what))
  end
  return family == "unix"
end

function sockets.check_port(port, n, name, prefix)
  if not math.type(port) then check.fail(n, name, (prefix or "") .. "port number", port) end
  local number = math.tointeger(port)
  if not number or number < 0 or number > 65535 then
    check.error(n, name, ("port from 0 to 65535 expected, got %s"):format(port))
  end
  return number
end

--- A name that can be looked up.
function sockets.check_host(host, n, name, expected, prefix)
  prefix = prefix or ""
  if type(host) ~= "string" then check.fail(n, name, prefix .. expected, host) end
  if #host > LONGEST_HOST then check.error(n, name, prefix .. "name too long") end
  if host:find("\0", 1, true) then check.error(n, name, prefix .. "name with a zero byte") end
end

--- The address of a unix socket.
function sockets.unix_address(path, n, name, prefix)
  prefix = prefix or ""
  if type(path) ~= "string" then check.fail(n, name, prefix .. "path", path) end
  local what
  if path == "" then
    what = "a path that isn't empty expected"
  elseif path:byte() ~= 0 and path:find("\0", 1, true) then
    what = "path with a zero byte"
  elseif #path > core.longest_path then
    what = ("the path of a unix socket has %d bytes at most, got %d"):format(core.longest_path, #path)
  end
  if what then check.error(n, name, prefix .. what) end
  return { family = "unix", path = path }
end

return sockets
