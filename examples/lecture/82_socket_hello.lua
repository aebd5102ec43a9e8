-- 82_socket_hello.lua [HOST [PORT]] - talks to 00_tcp_socket_server.lua, which must be running.
local socket = require "socket"

-- What is there, n bytes at most. LuaSocket's own receive(n) would wait until it has all n.
local function recv(s, n)
  socket.select { s }
  s:settimeout(0)
  local data, _, partial = s:receive(n)
  return data or partial
end

local host, port = arg[1] or "localhost", tonumber(arg[2] or 12345)

local s = assert(socket.tcp4())
assert(s:connect(host, port)) -- "connection refused": the server isn't running

assert(s:send "Hi, I'm the client!\n")

local input_data = recv(s, 4096)

print "Data from server:"
print(input_data)

s:close()
