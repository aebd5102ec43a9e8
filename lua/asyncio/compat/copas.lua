--- copas' interface, in tasks: `asyncio.compat.copas`, and what `compat.require` gives modules for "copas".
--
-- The functions and what they return are those of copas 4.11, whose manual holds. A thread is a task, and
-- is known by its coroutine; sockets are those of `asyncio.socket`. In a task `loop` waits until the threads
-- have ended, and cancels them when it is cancelled; elsewhere it runs a loop, which is kept for the next
-- call. What asyncio offers can be used in a thread, and `pause`, locks, queues and semaphores in any task.
--
-- What differs: a thread that is removed gets a CancelledError where it waits, so that it can clean up; its
-- error handler is called where the error was raised; one that sleeps for ever is not collected, since a
-- scope of asyncio's may end its sleep; `status` has no statistics, and there is no `debug`.
-- @module asyncio.compat.copas
-- @usage
-- local copas, socket = asyncio.compat.copas, require "asyncio.socket"
-- local server = assert(socket.bind("127.0.0.1", 0))
-- local host, port = server:getsockname()
-- copas.addserver(server, copas.handler(function(client)
--   client:send(client:receive():upper() .. "\n")
-- end))
-- copas.addthread(function()
--   local client = copas.wrap(socket.tcp())
--   client:connect(host, port)
--   client:send "tea\n"
--   print((client:receive())) --> TEA
--   client:close()
--   copas.removeserver(server)
-- end)
-- copas.loop()
local socket = require "asyncio.socket"
local sockets = require "asyncio.compat.copas_sockets"
local threads = require "asyncio.compat.copas_threads"

local copas = {
  _COPYRIGHT = "copas is by the Kepler Project and Thijs Schreijer; this is asyncio's",
  _DESCRIPTION = "Coroutine Oriented Portable Asynchronous Services",
  _VERSION = "Copas 4.11.0",
  autoclose = true,
  running = false,
  gettime = socket.gettime,

  -- sockets
  wrap = sockets.wrap, handler = sockets.handler,
  connect = sockets.connect, dohandshake = sockets.dohandshake,
  send = sockets.send, sendto = sockets.sendto, close = sockets.close,
  receive = sockets.receive, receivefrom = sockets.receivefrom,
  receivepartial = sockets.receivepartial, receivePartial = sockets.receivepartial,
  settimeout = sockets.settimeout, settimeouts = sockets.settimeouts,
  useSocketTimeoutErrors = sockets.raw_errors,

  -- threads
  removethread = threads.remove, wakeup = threads.wake, timeout = threads.timeout,
  gettraceback = threads.traceback,
}

function copas.flush() end

-- Threads

function copas.addnamedthread(name, fn, ...)
  if type(name) == "function" and type(fn) == "string" then
    name, fn = fn, name
  end
  return threads.add(name, nil, fn, ...)
end

function copas.addthread(fn, ...) return threads.add(nil, nil, fn, ...) end

function copas.pause(seconds)
  local began = socket.gettime()
  if seconds and seconds > 0 then threads.suspend(seconds) else threads.pass() end
  return socket.gettime() - began
end

function copas.pauseforever()
  local began = socket.gettime()
  threads.suspend(nil)
  return socket.gettime() - began
end

function copas.sleep(seconds)
  if seconds and seconds < 0 then return threads.suspend(nil) end
  copas.pause(seconds)
end

function copas.gettimeouts() return threads.world().timeouts end

-- Errors

function copas.seterrorhandler(fn, default)
  assert(fn == nil or type(fn) == "function", "Expected the handler to be a function, or nil")
  if default then
    assert(fn ~= nil, "Expected the handler to be a function when setting the default")
    threads.default_handler = fn
  else
    threads.set_handler(fn, threads.running())
  end
end

copas.setErrorHandler = copas.seterrorhandler

function copas.geterrorhandler(co) return threads.handler_of(co or threads.running()) end

-- Servers

local clients = setmetatable({}, { __mode = "k" }) -- server → how many it has had
local servers = {} -- server → the thread that accepts its clients, or is its handler

local function serve(client, server, fn)
  client:settimeout(0)
  sockets.copy_limits(server, client)
  clients[server] = (clients[server] or 0) + 1
  local name = threads.name_of(server)
  threads.set_name(client, ("%s:client_%d"):format(name, clients[server]))
  threads.add(("%s:handler_%d"):format(name, clients[server]), copas.autoclose and client or nil, fn, client)
end

local function accept_clients(server, fn)
  server:settimeout(nil)
  while true do
    local client, err = server:accept()
    if client then
      serve(client, server, fn)
    elseif err == "closed" then
      return
    else
      copas.pause(0.01) -- too many open files, say
    end
  end
end

function copas.addserver(server, fn, timeout, name)
  if name then threads.set_name(server, name) end
  if timeout then sockets.settimeout(server, timeout) end
  local label = threads.name_of(server) .. (sockets.is_tcp(server) and ":accept" or ":handler")
  if sockets.is_tcp(server) then
    servers[server] = threads.add(label, nil, accept_clients, server, fn)
  else
    server:settimeout(0)
    servers[server] = threads.add(label, nil, fn, server)
  end
end

function copas.removeserver(server, keep_open)
  local inner = sockets.inner(server)
  local co = servers[inner]
  servers[inner] = nil
  if co and sockets.is_tcp(inner) then threads.remove(co) end
  if keep_open then return true end
  return server:close()
end

-- The loop

function copas.exiting() return threads.world().exiting end

function copas.exit()
  local world = threads.world()
  if world.exiting then return end
  world.exiting = true
  if world.exit then world.exit:destroy() end
end

-- Until `exit` is called, by whomever, or by the loop, when all others have ended.
function copas.waitforexit()
  local world = threads.world()
  if world.exiting then return end
  world.exit = world.exit or copas.semaphore.new(1, 0, math.huge)
  world.exit:take(1)
end

-- What a step may wait at most, its second argument elsewhere, says nothing here.
function copas.loop(initializer)
  if type(initializer) == "function" then
    copas.addnamedthread("copas_initializer", initializer)
  elseif initializer ~= nil and type(initializer) ~= "number" then
    error("number or function expected, got " .. type(initializer), 2)
  end
  local world = threads.world()
  world.exiting, world.exit = false, nil
  copas.running = true
  local _ <close> = setmetatable({}, { __close = function() copas.running = false end })
  threads.loop(copas.exit)
end

copas.step = threads.step

function copas.finished() return threads.finished(threads.world()) end

function copas.cancelall()
  local world = threads.world()
  for server in pairs(servers) do copas.removeserver(server) end
  threads.cancel_all(world)
  copas.exit()
end

function copas.status()
  local world = threads.world()
  return {
    running = copas.running,
    timeout = world.timeouts, timer = world.sleeping, inactive = world.dormant,
    read = world.reading, write = world.writing,
    active = math.max(world.active - world.sleeping - world.reading - world.writing, 0),
  }
end

-- Names

function copas.setsocketname(name, skt)
  assert(type(name) == "string", "expected arg #1 to be a string")
  threads.set_name(sockets.inner(assert(skt, "expected arg #2 to be a socket")), name)
end

function copas.getsocketname(skt)
  return threads.name_of(sockets.inner(assert(skt, "expected arg #1 to be a socket")))
end

function copas.setthreadname(name, co)
  assert(type(name) == "string", "expected arg #1 to be a string")
  co = co or threads.running()
  assert(type(co) == "thread", "expected arg #2 to be a coroutine or nil")
  threads.set_name(co, name)
end

function copas.getthreadname(co)
  co = co or threads.running()
  assert(type(co) == "thread", "expected arg #1 to be a coroutine or nil")
  return threads.name_of(co)
end

-- Its other modules

local PARTS = {
  lock = "asyncio.compat.copas_lock", semaphore = "asyncio.compat.copas_semaphore",
  queue = "asyncio.compat.copas_queue", timer = "asyncio.compat.copas_timer",
  future = "asyncio.compat.copas_future",
}

local CLIENTS = { http = true, smtp = true, ftp = true }

local function load_part(self, name)
  local part = PARTS[name] and require(PARTS[name])
  if CLIENTS[name] then part = require("asyncio.compat.copas_clients")[name]() end
  if part then rawset(self, name, part) end
  return part
end

return setmetatable(copas, { __index = load_part, __call = function(_, ...) return copas.loop(...) end })
