-- 81_socket_client.lua [HOST [PORT]] - a TCP client the old way, with LuaSocket: asks a web server.
local socket = require "socket"

-- What is there, n bytes at most. LuaSocket's own receive(n) would wait until it has all n.
local function recv(s, n)
  socket.select { s }
  s:settimeout(0)
  local data, _, partial = s:receive(n)
  return data or partial
end

local host, port = arg[1] or "ethz.ch", tonumber(arg[2] or 80)

local s = assert(socket.tcp4()) -- IPv4, TCP
assert(s:connect(host, port))

-- "Give me this page" in HTTP. A Lua string is a string of bytes: there is nothing to encode.
local message_to_send = "GET /index.html HTTP/1.1\r\nHost: " .. host .. "\r\n\r\n"
assert(s:send(message_to_send))

local response = recv(s, 4096)

print "Server response:"
print(response) -- ethz.ch answers that the page is at https://ethz.ch/index.html now

s:close()
