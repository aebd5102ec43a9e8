--- Endpoints for datagrams: their addresses. Loaded when it is first used.
-- @module asyncio.datagrams
local check = require "asyncio.check"
local core = require "asyncio.core"
local sockets = require "asyncio.sockets"

local datagrams = {}

local NAME = "create_datagram_endpoint"
local PORT, SCOPE = { "port", "integer", 0, 65535 }, { "scope_id", "integer", 0 }

local LOCAL = check.options { "local_addr", 1, { "host", "string" }, PORT, sockets.FAMILY, SCOPE }
local REMOTE = check.options {
  "remote_addr", 1, { "host", "string", required = true }, { "port", "integer", 1, 65535 },
  sockets.FAMILY, SCOPE,
}
local OPTIONS = check.options {
  NAME, 1,
  { "local_addr", "table", LOCAL }, { "remote_addr", "table", REMOTE }, { "path", "string" },
  { "remote_path", "string" }, { "family", "choice", "inet|inet6|unix" }, { "reuse_address", "boolean" },
  { "reuse_port", "boolean" }, { "allow_broadcast", "boolean" },
  { "max_queue", "integer", 1, 0x7fffffff }, { "max_size", "integer", 1, 0x3fffffff },
  { "receive_buffer", "integer", 1, 0x3fffffff }, { "send_buffer", "integer", 1, 0x3fffffff },
  { "ttl", "integer", 1, 255 }, { "multicast_ttl", "integer", 0, 255 }, { "multicast_loopback", "boolean" },
  { "multicast_interface", "any" }, { "icmp_errors", "boolean" },
  guesses = "broadcast=allow_broadcast|rcvbuf recv_buffer so_rcvbuf=receive_buffer"
    .. "|sndbuf so_sndbuf=send_buffer|hops=ttl|address bind local_address=local_addr"
    .. "|host port=write local_addr = {host=, port=}, or remote_addr"
    .. "|peer remote remote_address=remote_addr|reuseaddr=reuse_address|reuseport=reuse_port",
}
local OF_IP = {
  "local_addr", "remote_addr", "reuse_address", "reuse_port", "allow_broadcast", "ttl", "multicast_ttl",
  "multicast_loopback", "multicast_interface", "icmp_errors",
}

local function fail(text) check.error(1, NAME, text) end

local function check_host(address, key)
  if not address or address.host == nil then return end
  if address.host == "" then fail(("'%s.host': a name or an address expected, got \"\""):format(key)) end
  sockets.check_host(address.host, 1, NAME, "host name", ("'%s.host': "):format(key))
end

--- An address of one's own; other names are for the system to know.
local function is_ipv4(interface)
  return type(interface) == "string" and interface:find "^%d+%.%d+%.%d+%.%d+$"
end

local function check_interface(interface)
  local number = math.type(interface) == "integer" and interface > 0 and interface < 0x80000000
  local named = type(interface) == "string" and interface ~= "" and not interface:find("\0", 1, true)
  if interface == nil or number or named and not interface:find("^%x*:[%x:.]*:") then return end
  local what = "an interface's name, number or IPv4 address expected, got "
  fail("'multicast_interface': " .. what .. (interface == "" and '""' or core.words(interface)))
end

local function check_ip(opts)
  local remote = opts.remote_addr
  if remote and not remote.port then fail "'remote_addr.port': integer from 1 to 65535 expected, got nil" end
  check_host(opts.local_addr, "local_addr")
  check_host(remote, "remote_addr")
  check_interface(opts.multicast_interface)
end

--- Where an IP endpoint has its options, a unix one has none.
local function check_unix(opts)
  for _, key in ipairs(OF_IP) do
    if opts[key] ~= nil then fail(("'%s' does not go with a unix socket"):format(key)) end
  end
  if opts.family and opts.family ~= "unix" then
    fail(("'family': a unix socket has a path, not family \"%s\""):format(opts.family))
  end
  local from = opts.path and sockets.unix_address(opts.path, 1, NAME, "'path': ")
  return from, opts.remote_path and sockets.unix_address(opts.remote_path, 1, NAME, "'remote_path': ")
end

--- The addresses of a name, or of none: all of this machine.
local function look_up(address, family, passive)
  return core.get_running_loop():getaddrinfo(address.host, address.port or 0,
    { family = address.family or family, passive = passive })
end

--- Addresses of which each may be had, in their order; false: none is asked for.
local function resolved(address, family, passive)
  if not address then return { false } end
  local list = look_up(address, family, passive)
  if #list == 0 then error(core.GaiError(("no address for %s"):format(address.host)), 0) end
  if address.scope_id then
    for _, each in ipairs(list) do
      if each.family == "inet6" then each.scope_id = each.scope_id or address.scope_id end
    end
  end
  return list
end

--- The pairs of one family, in order.
local function pairs_of(locals, remotes)
  local list = {}
  for _, remote in ipairs(remotes) do
    for _, from in ipairs(locals) do
      if not from or not remote or from.family == remote.family then list[#list + 1] = { from, remote } end
    end
  end
  return list
end

--- Those that go with an interface: one that is known by an IPv4 address is nothing to IPv6.
local function fitting(candidates, interface)
  if not is_ipv4(interface) then return candidates end
  local list = {}
  for _, pair in ipairs(candidates) do
    if (pair[1] or pair[2]).family == "inet" then list[#list + 1] = pair end
  end
  if #list == 0 then
    local what = "'multicast_interface': of an IPv6 endpoint an interface's name or number expected, got "
    fail(what .. interface)
  end
  return list
end

--- The first that can be had.
local function open_first(candidates, opts)
  local failure
  for _, pair in ipairs(candidates) do
    local from, remote = pair[1] or nil, pair[2] or nil
    local ok, endpoint = core.pcall(core.open_datagram, from, remote, opts, (from or remote).family)
    if ok then return endpoint end
    if not core.isinstance(endpoint, core.OSError) then error(endpoint, 0) end
    failure = failure or endpoint
  end
  error(failure, 0)
end

local function open_ip(opts)
  check_ip(opts)
  if not opts.local_addr and not opts.remote_addr then
    if not opts.family then
      fail "an endpoint needs a family: 'local_addr', 'remote_addr', 'path', 'remote_path' or 'family'"
    end
    fitting({ { { family = opts.family } } }, opts.multicast_interface)
    return core.open_datagram(nil, nil, opts, opts.family)
  end
  local locals = resolved(opts.local_addr, opts.family, true)
  local remotes = resolved(opts.remote_addr, opts.family, false)
  local candidates = pairs_of(locals, remotes)
  if #candidates == 0 then
    local to = tostring(remotes[1])
    local message = ("no local address is of the family that %s is of"):format(to)
    error(core.OSError { message = message, code = "EAFNOSUPPORT", syscall = "connect", address = to }, 0)
  end
  return open_first(fitting(candidates, opts.multicast_interface), opts)
end

--- Opens a socket for datagrams: UDP, or of unix sockets.
-- With `remote_addr` it is connected: it sends there, and hears nobody else. With `local_addr` it has that
-- address, which others can send to; without it gets one when it first sends. A host is resolved once,
-- here; where there are several addresses, the first that can be had is taken. An endpoint of IPv6 that is
-- bound to `"::"` hears IPv4, too, where the system is set so; such peers have addresses like
-- `::ffff:192.0.2.1`.
--
-- What comes is read whether somebody receives or not, so up to `max_queue` datagrams wait; of what comes
-- then the newest are dropped, and counted (see `DatagramEndpoint:stats`). The system has a queue of its own
-- before that, of `receive_buffer` bytes, most of which are its own overhead; it gives no more than its limit
-- (on Linux net.core.rmem_max) allows, and doesn't say so.
--
-- Unix sockets: `path`, `remote_path`; on Linux one that begins with a zero byte is an abstract name. The
-- file of a socket that is gone is replaced, and closing removes the file.
--
-- Raises OSError (AddressInUseError, PermissionError, GaiError, ...) when that fails.
-- @tparam table opts `local_addr` ({host=, port=}; `host` nil: every address of this machine, `port` 0: any
-- that is free), `remote_addr` ({host=, port=}), `family` ("inet", "inet6" or "unix"; needed where there
-- is neither), `path`, `remote_path`, `reuse_address` (false), `reuse_port` (false: several sockets share the
-- port, and each peer is one's of them), `allow_broadcast` (false), `max_queue` (1024), `max_size` (65536
-- bytes; longer ones are dropped and counted), `receive_buffer`, `send_buffer` (bytes; the system's),
-- `ttl` (the system's), `multicast_ttl` (1: not beyond this network), `multicast_loopback` (true: programs on
-- this machine hear it, too), `multicast_interface` (by which it leaves: a name, number, or IPv4 address of
-- its own), `icmp_errors` (false; Linux: errors of unconnected sends are heard, see
-- `DatagramEndpoint:receive`)
-- @treturn DatagramEndpoint
-- @usage
-- local server <close> = asyncio.create_datagram_endpoint { local_addr = { host = "127.0.0.1", port = 0 } }
-- local client <close> = asyncio.create_datagram_endpoint { remote_addr = server:get_extra_info "sockname" }
-- client:send "hello"
-- local data, address = server:receive()
-- server:send(data:upper(), address)
-- print((client:receive())) --> HELLO
function datagrams.create_datagram_endpoint(opts)
  if type(opts) ~= "table" then check.fail(1, NAME, "table of options", opts) end
  opts = OPTIONS(opts)
  core.get_running_loop()
  if opts.path or opts.remote_path or opts.family == "unix" then
    local from, remote = check_unix(opts)
    return core.open_datagram(from, remote, opts, "unix")
  end
  return open_ip(opts)
end

return datagrams
