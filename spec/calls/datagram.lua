-- Datagrams: whatever is cancelled, each one that left is received by somebody, once, or is there still; and none that
-- was cancelled has left. An error that came back is raised to somebody.
local asyncio = require "asyncio"

local HERE = { host = "127.0.0.1", port = 0 }

local function open(opts)
  opts.local_addr = HERE
  local endpoint = asyncio.create_datagram_endpoint(opts)
  return endpoint, endpoint:get_extra_info "sockname"
end

--- Sends the numbers from 1 to n, now and then.
local function sender(c, endpoint, n, at)
  return asyncio.create_task(function()
    for i = 1, n do
      if c.random(4) == 1 then c.pass() end
      endpoint:send(tostring(i), at)
    end
  end)
end

local function note(got, data)
  local i = tonumber(data)
  assert(i and not got[i], "one was received twice")
  got[i] = true
  got.n = got.n + 1
end

--- One of the ways of receiving.
local function receive(c, endpoint, got)
  local way = c.random(4)
  if way == 1 then
    for _, each in ipairs(endpoint:receive_many(c.random(1, 5))) do note(got, each[1]) end
  elseif way == 2 then
    local data = endpoint:receive_nowait()
    if data then note(got, data) else c.pass() end
  elseif way == 3 then
    for data in endpoint:iter() do
      note(got, data)
      break
    end
  else
    note(got, (endpoint:receive()))
  end
end

local function received_by(others)
  return function(c)
    local endpoint, at = open {}
    local client, n, got = open {}, c.random(1, 30), { n = 0 }
    local sending = sender(c, client, n, at)
    local tasks = {}
    local function take()
      while got.n < n do receive(c, endpoint, got) end
      endpoint:close() -- the others hear of no more
    end
    for i = 1, others do tasks[i] = asyncio.create_task(take) end
    return take, function()
      asyncio.await(sending)
      asyncio.pcall(take)
      for _, task in ipairs(tasks) do asyncio.pcall(asyncio.await, task) end
      assert(got.n == n, "some were lost")
      assert(endpoint:stats().received == n and client:stats().sent == n)
      endpoint:close()
      client:close()
    end
  end
end

--- A unix socket takes a few only; so sends wait.
local function unix_pair(connected)
  local path = os.tmpname()
  os.remove(path)
  local endpoint = asyncio.create_datagram_endpoint { path = path }
  local client = asyncio.create_datagram_endpoint(connected and { remote_path = path } or { family = "unix" })
  return endpoint, client, not connected and { path = path } or nil
end

local function sends_to(connected)
  return function(c)
    local endpoint, client, at = unix_pair(connected)
    local left, n, got = 0, c.random(5, 40), { n = 0 }
    local reading = asyncio.create_task(function()
      while true do
        if c.random(3) == 1 then c.pass() end
        note(got, (endpoint:receive()))
      end
    end)
    local function send()
      local i = 0
      while i < n do
        if c.random(5) == 1 then c.pass() end
        if c.random(3) == 1 then
          local list = {}
          for k = 1, math.min(c.random(1, 5), n - i) do list[k] = { tostring(i + k), at } end
          local went = client:send_many(list)
          i, left = i + went, left + went
        else
          client:send(tostring(i + 1), at)
          i, left = i + 1, left + 1
        end
      end
    end
    return send, function()
      assert(client:stats().sent == left, "a call that was cancelled has sent something")
      while got.n < left do c.pass() end
      reading:cancel()
      asyncio.wait { reading }
      assert(got.n == left and not endpoint:receive_nowait())
      endpoint:close()
      client:close()
    end
  end
end

--- Nobody is there: that is told to who receives or sends, though others that wait are cancelled.
local function refused(c)
  local gone = asyncio.create_datagram_endpoint { local_addr = { host = "127.0.0.2", port = 0 } } -- not a client's host
  local at = gone:get_extra_info "sockname"
  gone:close()
  local client, wanted = asyncio.create_datagram_endpoint { remote_addr = at }, true
  local owed = false -- one has left, and nothing has been raised since
  local function hear(call)
    local ok, err = asyncio.pcall(call, client, "x")
    if not ok then
      assert(err.code == "ECONNREFUSED", err)
      owed = false
    end
    return ok
  end
  local sending = asyncio.create_task(function()
    while wanted do
      c.pass()
      owed = hear(client.send) or owed
    end
  end)
  return function() hear(client.receive) end, function()
    wanted = false
    asyncio.await(sending)
    while owed do assert(not hear(client.receive)) end
    client:close()
  end
end

return {
  { "DatagramEndpoint:receive", "real", received_by(0) },
  { "DatagramEndpoint:receive, refused", "real", refused },
  { "DatagramEndpoint:receive, virtual", "virtual", received_by(0) },
  { "DatagramEndpoint:receive, by several", "real", received_by(2) },
  { "DatagramEndpoint:send", "real", sends_to(true) },
  { "DatagramEndpoint:send, virtual", "virtual", sends_to(true) },
  { "DatagramEndpoint:send, not connected", "virtual", sends_to(false) },

  { "DatagramEndpoint:wait_closed", "virtual", function(c)
    local endpoint = open {}
    local waiter = asyncio.create_task(endpoint.wait_closed, endpoint)
    local closer = asyncio.create_task(function()
      c.pass()
      c.pass()
      endpoint:close()
    end)
    return function()
      endpoint:wait_closed()
      assert(endpoint:is_closing())
    end, function()
      asyncio.await(closer)
      asyncio.await(waiter)
      endpoint:wait_closed()
    end
  end },
}
