-- 00_tcp_socket_server.lua [HOST [PORT]] - a TCP server the old way, with LuaSocket: one client at a time.
-- Try it with `nc 127.0.0.1 12345`, or with 82_socket_hello.lua. To end it, press Ctrl-C twice: Lua can
-- stop between two of its instructions only, and a program in accept() doesn't get to the next.
local socket = require "socket"

io.stdout:setvbuf "line"

-- What is there, n bytes at most. LuaSocket's own receive(n) would wait until it has all n.
local function recv(s, n)
  socket.select { s }
  s:settimeout(0)
  local data, _, partial = s:receive(n)
  return data or partial
end

local host, port = arg[1] or "localhost", tonumber(arg[2] or 12345)

local serversocket = assert(socket.tcp4())
serversocket:setoption("reuseaddr", true) -- or the port stays taken for a minute after the last run
assert(serversocket:bind(host, port))
assert(serversocket:listen())

while true do
  print(("Waiting for a connection on %s:%d ..."):format(serversocket:getsockname()))
  local sock = assert(serversocket:accept()) -- nothing else happens meanwhile
  print(("New connection from %s:%d"):format(sock:getpeername()))

  sock:send "Hello! I'm the server!\n"
  local data = recv(sock, 4096) -- whoever comes now has to wait until this client has spoken
  print "Data from client:"
  print(data)

  sock:close()
end
