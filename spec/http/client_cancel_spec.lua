-- client_cancel_spec.lua - requests that are broken off: none takes another's answer, none keeps its connection.
local t = require "helper"
local raw = require "http.raw"

local asyncio = t.asyncio
local http = asyncio.http

local function state(client) return tostring(client):match "^asyncio%.Client: (.*)$" end

--- Calls fn in a task, cancels that after so long, and waits for its end.
local function cancelled_after(seconds, fn)
  local task = asyncio.create_task(fn)
  asyncio.sleep(seconds)
  task:cancel()
  asyncio.wait { task }
  return task
end

--- A server that thinks about everything for a second: before the head, in its middle, before the body and in it.
local function thinking(request, writer)
  local body = "answer to " .. request.target
  for _, piece in ipairs { "HTTP/1.1 200 OK\r\n", ("Content-Length: %d\r\n\r\n"):format(#body), body:sub(1, 5),
    body:sub(6) } do
    asyncio.sleep(1)
    if not asyncio.pcall(writer.send, writer, piece) then return false end
  end
end

TestCancelled = {}

function TestCancelled:test_wherever_it_waits_its_connection_is_closed_and_its_place_free()
  raw.with(thinking, function(url)
    local client <close> = http.Client { max_connections = 1 }
    for _, seconds in ipairs { 0, 0.5, 1.5, 2.5, 3.5 } do
      local task = cancelled_after(seconds, function() return client:get(url):read() end)
      t.assertTrue(task:cancelled())
      t.assertEquals(state(client), "0 idle, 0 in use, 0 waiting")
    end
    t.assertEquals(client:get(url .. "x"):read(), "answer to /x")
  end)
end

function TestCancelled:test_the_body_s_source_is_ended_too()
  raw.with(function() end, function(url)
    local client <close> = http.Client()
    local ended
    cancelled_after(1, function()
      client:post(url, { body = function()
        local _ <close> = asyncio.defer(function()
          asyncio.sleep(1)
          ended = true
        end)
        asyncio.sleep(1e6)
      end })
    end)
    t.assertEquals({ ended, state(client) }, { true, "0 idle, 0 in use, 0 waiting" })
  end)
end

function TestCancelled:test_between_lines_and_blocks_as_well()
  raw.with(function(_, writer, reader)
    writer:send "HTTP/1.1 200 OK\r\n\r\none\n"
    reader:wait_eof()
    return false
  end, function(url)
    local client <close> = http.Client()
    for _, way in ipairs { "lines", "blocks" } do
      local n = 0
      cancelled_after(1, function()
        local answer = client:get(url)
        for _ in answer[way](answer) do n = n + 1 end
      end)
      t.assertEquals({ n, state(client) }, { 1, "0 idle, 0 in use, 0 waiting" })
    end
  end)
end

function TestCancelled:test_while_it_connects()
  t.real(function()
    local client <close> = http.Client { max_connections = 1 }
    local server <close> = raw.serve(function() return raw.answer "tea" end)
    for _ = 1, 20 do
      local task = asyncio.create_task(function() return client:get(raw.url(server)):read() end)
      asyncio.sleep(0)
      task:cancel()
      asyncio.wait { task }
    end
    t.assertEquals({ client:get(raw.url(server)):read(), state(client) }, { "tea", "1 idle, 0 in use, 0 waiting" })
  end)
end

-- A thousand

--- A server that answers what it was asked, more or less late, in pieces or at once, and sometimes breaks off.
local function moody(random)
  return function(request, writer)
    local answer = raw.answer(request.target .. ("."):rep(random(0, 3000)) .. request.target)
    if random(4) == 1 then asyncio.sleep(random() * 0.02) end
    if random(20) == 1 then return false end
    if random(3) > 1 then return answer end
    local at = random(#answer)
    if not asyncio.pcall(writer.send, writer, answer:sub(1, at)) then return false end
    asyncio.sleep(random() * 0.02)
    if random(20) == 1 then return false end
    return answer:sub(at + 1)
  end
end

local function ask(client, i, random)
  local answer <close> = client:get("/" .. i)
  if random(10) == 1 then return end
  local text = answer:read()
  assert(text:find("^/" .. i .. "%.*/" .. i .. "$"), "somebody else's answer")
end

local function allowed(err)
  return asyncio.isinstance(err, http.ProtocolError) or asyncio.isinstance(err, asyncio.ConnectionError)
end

local function thousand(seed, total)
  math.randomseed(seed)
  local random, answered = math.random, 0
  local server <close> = raw.serve(moody(random))
  local client <close> = http.Client { base_url = raw.url(server), max_connections_per_host = 7 }
  local function one(i)
    local limit = random(3) == 1 and random() * 0.03 or nil
    local ok, err = pcall(asyncio.wait_for, function() ask(client, i, random) end, limit)
    if ok then
      answered = answered + 1
    elseif not allowed(err) and not asyncio.isinstance(err, asyncio.TimeoutError) then
      error(err, 0)
    end
  end
  local list = {}
  for i = 1, total do list[i] = i end
  asyncio.map(one, list, { max_concurrent = 30 })
  t.assertTrue(answered > total / 3)
  t.assertStrMatches(state(client), "%d idle, 0 in use, 0 waiting")
  server:abort_clients()
end

TestThousand = {}

for seed = 1, 3 do
  TestThousand["test_no_answer_is_given_to_somebody_else_" .. seed] = function()
    t.run(function() thousand(seed, t.count(1000)) end)
  end
end

t.finish()
