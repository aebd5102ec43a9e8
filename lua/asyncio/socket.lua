--- LuaSocket's interface, for tasks: programs written for it wait without stopping the others.
--
-- The functions, the classes, what they return and what their errors say are those of LuaSocket 3.1, whose
-- manual holds. A call that would block there suspends its task here; where no loop runs it blocks. In a
-- callback of a running loop, or where Lua cannot suspend, a call that finds what it needs at hand returns
-- that, and one that would have to wait raises. A socket belongs to no loop: one may use it after the other.
--
-- What differs: a second task that reads from a socket, or writes to it, while another waits in such a call
-- gets a BusyError; who waits in a socket that another closes gets `nil, "closed"`; a `receive` that is
-- cancelled has taken nothing, while a `send` or `connect` that is cancelled on its way closes the socket.
-- `protect` lets a cancellation through. `gettime` is the loop's own clock, which the virtual clock of tests
-- moves, too. `select` takes any descriptor, however large.
-- @module asyncio.socket
-- @usage
-- local socket = require "asyncio.socket"
-- local server = assert(socket.bind("127.0.0.1", 0))
-- local echo = asyncio.create_task(function()
--   local client = server:accept()
--   client:send(client:receive() .. "\n")
--   client:close()
-- end)
-- local ip, port = server:getsockname()
-- local client = assert(socket.connect(ip, port))
-- client:send "hello\n"
-- print(client:receive()) --> hello
-- asyncio.await(echo)
-- client:close()
-- server:close()
local core = require "asyncio.core"

local socket, unix = core.socket_core()
socket.unix = unix

-- Errors as values

--- Marks errors of `try`; what else is raised isn't `protect`'s business.
local Failure = { __metatable = false }

local function finish(ok, ...)
  if ok then return ... end
  local err = ...
  if type(err) == "table" and debug.getmetatable(err) == Failure then return nil, err[1] end
  error(err, 0)
end

function socket.protect(fn)
  return function(...)
    return finish(core.catch(fn, ...))
  end
end

function socket.newtry(finalizer)
  return function(...)
    local ok, err = ...
    if ok then return ... end
    if finalizer ~= nil then finalizer() end
    error(setmetatable({ err }, Failure), 0)
  end
end

socket.try = socket.newtry()

-- Connections and servers

function socket.connect4(address, port, laddress, lport)
  return socket.connect(address, port, laddress, lport, "inet")
end

function socket.connect6(address, port, laddress, lport)
  return socket.connect(address, port, laddress, lport, "inet6")
end

--- A listening socket at one address of a host, or what went wrong.
local function listen_at(info, port, backlog)
  local server, err = (info.family == "inet" and socket.tcp4 or socket.tcp6)()
  if not server then return nil, err, true end
  server:setoption("reuseaddr", true)
  local ok, why = server:bind(info.addr, port)
  if ok then ok, why = server:listen(backlog) end
  if ok then return server end
  server:close()
  return nil, why
end

function socket.bind(host, port, backlog)
  local addresses, err = socket.dns.getaddrinfo(host == "*" and "0.0.0.0" or host)
  if not addresses then return nil, err end
  err = "no info on address"
  for _, info in ipairs(addresses) do
    local server, hopeless
    server, err, hopeless = listen_at(info, port, backlog)
    if server or hopeless then return server, err end
  end
  return nil, err
end

-- Sources and sinks of LTN12

function socket.choose(choices)
  return function(name, a, b)
    if type(name) ~= "string" then name, a, b = "default", name, a end
    local choice = choices[name or "nil"]
    if not choice then error("unknown key (" .. tostring(name) .. ")", 3) end
    return choice(a, b)
  end
end

socket.BLOCKSIZE = 2048
socket.sourcet, socket.sinkt = {}, {}

--- What can be called, and given to `select`.
local function selectable(sock, call)
  return setmetatable({
    getfd = function() return sock:getfd() end,
    dirty = function() return sock:dirty() end,
  }, { __call = call })
end

socket.sinkt["close-when-done"] = function(sock)
  return selectable(sock, function(_, chunk)
    if chunk then return sock:send(chunk) end
    sock:close()
    return 1
  end)
end

socket.sinkt["keep-open"] = function(sock)
  return selectable(sock, function(_, chunk)
    if chunk then return sock:send(chunk) end
    return 1
  end)
end

socket.sinkt.default = socket.sinkt["keep-open"]
socket.sink = socket.choose(socket.sinkt)

socket.sourcet["by-length"] = function(sock, length)
  return selectable(sock, function()
    if length <= 0 then return nil end
    local chunk, err = sock:receive(math.min(socket.BLOCKSIZE, length))
    if err then return nil, err end
    length = length - #chunk
    return chunk
  end)
end

socket.sourcet["until-closed"] = function(sock)
  local done
  return selectable(sock, function()
    if done then return nil end
    local chunk, err, partial = sock:receive(socket.BLOCKSIZE)
    if not err then return chunk end
    if err ~= "closed" then return nil, err end
    sock:close()
    done = true
    return partial
  end)
end

socket.sourcet.default = socket.sourcet["until-closed"]
socket.source = socket.choose(socket.sourcet)

return socket
