--- Statements about other libraries' descriptors (LuaSocket's, where it is installed) and signals.
local asyncio = require "asyncio"
local has_socket, socket = pcall(require, "socket")

local SIGNALS = { "SIGWINCH", "SIGURG", "SIGCHLD" } -- what nobody handles is ignored

local function running() return asyncio.get_running_loop() end

local watching = {
  { "new sockets", 4, quick = true, run = function(env)
    local server = assert(socket.bind("127.0.0.1", 0))
    local one = assert(socket.connect("127.0.0.1", select(2, server:getsockname())))
    local other = assert(server:accept())
    server:close()
    env:add("socket", one):settimeout(0)
    env:add("socket", other):settimeout(0)
  end },
  { "add_reader", 3, on = "socket", quick = true, bodies = { "quick" }, run = function(env, s, sock)
    running():add_reader(sock, env:callback(s[1]))
  end },
  { "add_writer", 3, on = "socket", quick = true, bodies = { "quick" }, run = function(env, s, sock)
    running():add_writer(sock, env:callback(s[1]))
  end },
  { "remove_reader", 2, on = "socket", quick = true, run = function(_, _, sock)
    return running():remove_reader(sock)
  end },
  { "remove_writer", 3, on = "socket", quick = true, run = function(_, _, sock)
    return running():remove_writer(sock)
  end },
  { "wait_readable", 3, on = "socket", run = function(env, _, sock)
    return env:briefly(1, asyncio.wait_readable, sock)
  end },
  { "wait_writable", 3, on = "socket", run = function(env, _, sock)
    return env:briefly(1, asyncio.wait_writable, sock)
  end },
  { "socket:send", 3, on = "socket", quick = true, run = function(_, _, sock) return sock:send "bytes" end },
  { "socket:receive", 2, on = "socket", quick = true, run = function(_, _, sock) return sock:receive(3) end },
  { "socket:close", 1, on = "socket", quick = true, run = function(_, _, sock) return sock:close() end },
}

local signals = {
  { "add_signal_handler", 2, quick = true, bodies = { "quick" }, run = function(env, s)
    return running():add_signal_handler(SIGNALS[s.b % 3 + 1], env:callback(s[1]))
  end },
  { "remove_signal_handler", 2, quick = true, run = function(_, s)
    return running():remove_signal_handler(SIGNALS[s.b % 3 + 1])
  end },
  { "a signal comes", 1, run = function(_, s)
    if s.a % 5 == 0 then os.execute("kill -" .. SIGNALS[s.b % 3 + 1]:sub(4) .. " $PPID") end
  end },
}

local list = has_socket and watching or {}
table.move(signals, 1, #signals, #list + 1, list)
return list
