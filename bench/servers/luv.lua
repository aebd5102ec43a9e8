-- luv.lua MODE PORT: a coroutine for each connection, resumed by luv's callbacks, as its users have it;
-- udp: an echo of datagrams, which needs none.
local uv = require "luv"

--- Functions that wait for the connection's data, and for a write's end.
local function wrap(client, co)
  local chunks, first, last, ended, waiting = {}, 1, 0, false, false
  client:read_start(function(_, data)
    if data then
      last = last + 1
      chunks[last] = data
    else
      ended = true
    end
    if waiting then
      waiting = false
      assert(coroutine.resume(co))
    end
  end)
  local function read()
    while first > last and not ended do
      waiting = true
      coroutine.yield()
    end
    local data = chunks[first]
    if data then chunks[first], first = nil, first + 1 end
    return data
  end
  local function written(err) assert(coroutine.resume(co, err)) end
  local function write(data)
    client:write(data, written)
    return coroutine.yield()
  end
  return read, write
end

local serve = {}

function serve.echo(read, write)
  for data in read do write(data) end
end

function serve.line(read, write)
  local rest = ""
  for data in read do
    rest = rest .. data
    local from = 1
    for at in function() return rest:find("\n", from, true) end do
      write(rest:sub(from, at))
      from = at + 1
    end
    rest = rest:sub(from)
  end
end

function serve.bulk(_, write)
  local chunk = ("x"):rep(65536)
  for _ = 1, (1 << 30) // #chunk do
    if write(chunk) then return end
  end
end

local function listen()
  local server = uv.new_tcp()
  server:bind("127.0.0.1", tonumber(arg[2]))
  server:listen(4096, function()
    local client = uv.new_tcp()
    server:accept(client)
    client:nodelay(true)
    coroutine.wrap(function()
      serve[arg[1]](wrap(client, coroutine.running()))
      client:close()
    end)()
  end)
end

local function echo_datagrams()
  local udp = uv.new_udp()
  udp:bind("127.0.0.1", tonumber(arg[2]))
  udp:recv_start(function(_, data, from)
    if data and from then udp:try_send(data, from.ip, from.port) end
  end)
end

if arg[1] == "udp" then echo_datagrams() else listen() end
uv.run()
