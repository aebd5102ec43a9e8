-- 83_one_at_a_time.lua [HOST [PORT]] - what the old way cannot: echo, but for one client at a time.
-- Connect two `nc 127.0.0.1 12345`: the second one gets no answer until the first one has gone.
local socket = require "socket"

io.stdout:setvbuf "line"

local host, port = arg[1] or "localhost", tonumber(arg[2] or 12345)

local serversocket = assert(socket.tcp4())
serversocket:setoption("reuseaddr", true)
assert(serversocket:bind(host, port))
assert(serversocket:listen())
print(("Listening on %s:%d"):format(serversocket:getsockname()))

while true do
  local sock = assert(serversocket:accept())
  -- As long as we are in this loop, nobody is at accept.
  for line in function() return sock:receive "*l" end do sock:send(line .. "\n") end
  sock:close()
end
