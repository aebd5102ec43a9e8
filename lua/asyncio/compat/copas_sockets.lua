--- Sockets in the copas face: its calls on LuaSocket's, and what `wrap` makes.
-- @module asyncio.compat.copas_sockets
local socket = require "asyncio.socket"
local idle = require "asyncio.compat.copas_idle"
local threads = require "asyncio.compat.copas_threads"

local sockets = {}

local DATAGRAM = socket._DATAGRAMSIZE or 8192
local UNDER_WAY = "Operation already in progress" -- a socket's own word for a connect that takes too long
local TIMED_OUT = { timeout = true, wantread = true, wantwrite = true }

local function weak() return setmetatable({}, { __mode = "k" }) end

-- Socket → seconds; nil: no limit
local limits = { connect = weak(), send = weak(), receive = weak() }
local connected = weak()
local raw_errors = weak() -- coroutine → whether it gets a socket's own words for a timeout

local function kind_of(skt) return tostring(skt):sub(1, 3) end

--- Whether it is one of TCP, secure or not.
local function is_tcp(skt)
  local kind = kind_of(skt)
  return kind == "tcp" or kind == "SSL"
end

sockets.is_tcp = is_tcp

-- Limits

local function set_limit(name, skt, seconds)
  if seconds ~= nil and type(seconds) ~= "number" then
    return nil, name .. " timeout must be 'nil' or a number"
  end
  if seconds then limits[name == "read" and "receive" or name][skt] = seconds >= 0 and seconds or nil end
  return true
end

function sockets.settimeouts(skt, connect, send, read)
  local ok, err = set_limit("connect", skt, connect)
  if ok then ok, err = set_limit("send", skt, send) end
  if ok then ok, err = set_limit("read", skt, read) end
  return ok, err
end

function sockets.settimeout(skt, seconds)
  seconds = seconds or -1
  if type(seconds) ~= "number" then return nil, "timeout must be 'nil' or a number" end
  return sockets.settimeouts(skt, seconds, seconds, seconds)
end

--- From one socket to what has taken its place.
function sockets.copy_limits(from, to)
  for _, list in pairs(limits) do list[to] = list[from] end
end

-- Calls that suspend

--- The socket waits so long in its next call, and not at all when others use it.
local function arm(skt, seconds)
  if seconds == 0 or seconds == math.huge then seconds = nil end
  skt:settimeout(nil, "b")
  skt:settimeout(seconds, "t")
end

local function disarm(skt, ...)
  skt:settimeout(0, "b")
  skt:settimeout(nil, "t")
  return ...
end

--- What a timeout is called.
local function told(ok, err, ...)
  if not ok and TIMED_OUT[err] and not raw_errors[threads.running()] then err = "timeout" end
  return ok, err, ...
end

local function call(name, limit, skt, ...)
  local field = limit == "receive" and "reading" or "writing"
  local world = threads.world()
  idle.note(world)
  world[field] = world[field] + 1
  local _ <close> = setmetatable({}, { __close = function() world[field] = world[field] - 1 end })
  arm(skt, limits[limit][skt])
  return told(disarm(skt, skt[name](skt, ...)))
end

function sockets.receive(skt, pattern, part) return call("receive", "receive", skt, pattern or "*l", part) end

function sockets.receivefrom(skt, size) return call("receivefrom", "receive", skt, size or DATAGRAM) end

function sockets.send(skt, data, from, to)
  if not is_tcp(skt) then return skt:send(data) end
  return call("send", "send", skt, data, from, to)
end

function sockets.sendto(skt, data, ip, port) return skt:sendto(data, ip, port) end

-- By itself a socket that is connected takes another `connect` for the end of its first.
function sockets.connect(skt, host, port)
  if connected[skt] and skt:getpeername() then return nil, "already connected" end
  local ok, err = call("connect", "connect", skt, host, port)
  connected[skt] = ok and true
  if err == "timeout" and raw_errors[threads.running()] then err = UNDER_WAY end
  return ok, err
end

--- Returns as soon as there is anything.
function sockets.receivepartial(skt, pattern, part)
  pattern = pattern or "*l"
  local limit = limits.receive[skt]
  local deadline = limit and limit > 0 and socket.gettime() + limit
  local had = #(part or "")
  while true do
    local data, err, rest = disarm(skt, skt:receive(pattern, part))
    if data or not TIMED_OUT[err] or type(rest) == "string" and #rest > had then
      if not data and TIMED_OUT[err] then return told(data, err, rest) end
      return data, err, rest
    end
    part = rest
    local left = deadline and deadline - socket.gettime()
    if left and left <= 0 then return told(nil, err, part) end
    socket.select({ skt }, nil, left or nil)
  end
end

function sockets.close(skt, ...) return skt:close(...) end

function sockets.raw_errors(on) raw_errors[threads.running()] = on and true or false end

-- TLS

local function secure(skt, params)
  if kind_of(skt) == "SSL" then return skt end
  if not params then
    error("cannot wrap socket into a secure socket (using 'ssl.wrap()') without parameters/context", 0)
  end
  local secured = assert(require("asyncio.compat.ssl").wrap(skt, params))
  secured:settimeout(0)
  sockets.copy_limits(skt, secured)
  local thread = threads.current()
  if thread and thread.socket == skt then thread.socket = secured end
  if threads.name_of(skt) ~= tostring(skt) then threads.set_name(secured, threads.name_of(skt)) end
  return secured
end

--- Shakes hands; the secure socket, or nil and "timeout". Other failures are raised.
function sockets.dohandshake(skt, params)
  local secured = secure(skt, params)
  local ok, err = call("dohandshake", "connect", secured)
  if ok then return secured end
  if TIMED_OUT[err] then return nil, err end
  error("TLS/SSL handshake failed: " .. tostring(err), 0)
end

--- The parameters of TLS in one form: `wrap`, `sni`, each false if there are none.
local function parameters(given)
  local kind = type(given)
  if kind == "nil" then return { wrap = false, sni = false } end
  if kind == "userdata" or kind == "table" and (given.mode or given.protocol) then
    return { wrap = given, sni = false }
  end
  if kind ~= "table" then error("ssl parameters; did not expect type " .. tostring(given), 0) end
  return { wrap = given.wrap or false, sni = given.sni or false }
end

-- What `wrap` makes

local methods = {}
local Tcp = { __index = methods }
local Udp = { __index = {} }

function Tcp:__tostring() return tostring(self.socket) .. " (copas wrapped)" end

Udp.__tostring = Tcp.__tostring

function methods:send(data, from, to) return sockets.send(self.socket, data, from, to) end

function methods:receive(pattern, prefix)
  local receive = limits.receive[self.socket] == 0 and sockets.receivepartial or sockets.receive
  return receive(self.socket, pattern, prefix)
end

function methods:receivepartial(pattern, prefix)
  return sockets.receivepartial(self.socket, pattern, prefix)
end

function methods.flush() end

function methods:settimeout(seconds) return sockets.settimeout(self.socket, seconds) end

function methods:settimeouts(connect, send, receive)
  return sockets.settimeouts(self.socket, connect, send, receive)
end

function methods:connect(...)
  local ok, err = sockets.connect(self.socket, ...)
  if ok and self.ssl_params.sni then self:sni() end
  if ok and self.ssl_params.wrap then ok, err = self:dohandshake() end
  return ok, err
end

function methods:close(...) return sockets.close(self.socket, ...) end

function methods:sni(names, strict)
  local params = self.ssl_params
  self.socket = secure(self.socket, params.wrap)
  if names == nil then
    names, strict = params.sni.names, params.sni.strict
  end
  return self.socket:sni(names, strict)
end

function methods:dohandshake(params)
  local secured, err = sockets.dohandshake(self.socket, params or self.ssl_params.wrap)
  if not secured then return nil, err end
  self.socket = secured
  return self
end

for _, name in ipairs { "bind", "listen", "getstats", "setstats", "shutdown", "getfd", "dirty" } do
  methods[name] = function(self, ...) return self.socket[name](self.socket, ...) end
end

--- May wait for a client, as long as for bytes.
function methods:accept() return call("accept", "receive", self.socket) end

local function answer(otherwise, ok, ...)
  if ok then return ... end
  return nil, otherwise
end

--- What one of the two kinds has not.
local function optional(otherwise, ...)
  for _, name in ipairs { ... } do
    methods[name] = function(self, ...)
      local method = self.socket[name]
      if not method then return nil, otherwise end
      return answer(otherwise, pcall(method, self.socket, ...))
    end
  end
end

optional("not implemented by LuaSec", "getsockname", "getpeername", "setoption", "getoption")
optional("not a tls socket", "getalpn", "getsniname")

for name, method in pairs(methods) do Udp.__index[name] = method end

function Udp.__index:send(...) return self.socket:send(...) end

function Udp.__index:sendto(...) return self.socket:sendto(...) end

function Udp.__index:receive(size) return sockets.receive(self.socket, size or DATAGRAM) end

function Udp.__index:receivefrom(size) return sockets.receivefrom(self.socket, size) end

function Udp.__index:setpeername(...) return self.socket:setpeername(...) end

function Udp.__index:setsockname(...) return self.socket:setsockname(...) end

function Udp.__index.close() return true end -- it is the server's socket, too

local function is_wrapped(skt)
  local meta = getmetatable(skt)
  return meta == Tcp or meta == Udp
end

--- The socket in what `wrap` made, or itself.
function sockets.inner(skt) return is_wrapped(skt) and skt.socket or skt end

function sockets.wrap(skt, params)
  if is_wrapped(skt) then return skt end
  skt:settimeout(0)
  if is_tcp(skt) then return setmetatable({ socket = skt, ssl_params = parameters(params) }, Tcp) end
  return setmetatable({ socket = skt }, Udp)
end

--- A handler that gets its socket wrapped, and secure if there are parameters.
function sockets.handler(fn, params)
  return function(skt, ...)
    skt = sockets.wrap(skt, params)
    local given = skt.ssl_params
    if given and given.sni then skt:sni(given.sni.names, given.sni.strict) end
    if given and given.wrap then skt:dohandshake(given.wrap) end
    return fn(skt, ...)
  end
end

return sockets
