-- http_luv.lua PORT - as much of HTTP as a hand writes on luv: it looks for the end of a head and sends one
-- answer. It neither checks what comes nor has it limits: what any server in Lua needs at least.
local uv = require "luv"

local ANSWER = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nDate: %s\r\n"
  .. "Content-Length: 12\r\n\r\nhello world\n"
local answer
local clock = uv.new_timer()
clock:start(0, 1000, function() answer = ANSWER:format(os.date "!%a, %d %b %Y %H:%M:%S GMT") end)

local server = uv.new_tcp()
assert(server:bind("127.0.0.1", tonumber(arg[1])))
server:listen(4096, function()
  local client, rest = uv.new_tcp(), ""
  server:accept(client)
  client:nodelay(true)
  client:read_start(function(_, data)
    if not data then return client:close() end
    rest = rest .. data
    local answers, from = {}, 1
    while true do
      local _, last = rest:find("\r\n\r\n", from, true)
      if not last then break end
      local path = rest:match("^%u+ (%S+)", from)
      answers[#answers + 1] = path and answer or nil
      from = last + 1
    end
    rest = rest:sub(from)
    if answers[1] then client:try_write(answers) end
  end)
end)
uv.run()
