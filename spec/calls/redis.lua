-- Redis: whoever is cancelled, no reply goes to another, no message is lost, and the client goes on.
local asyncio = require "asyncio"
local beside = require "calls.beside"
local fake = require "redis.fake"

local check = beside.check

--- A server that answers in its own time, with keys as values; connections that it loses, too, if that is wanted.
local function handler(c, loses)
  return function(link)
    link:serve {
      GET = function(command)
        if c.random(4) == 1 then c.pass() end
        if loses and c.random(10) == 1 then error "lost" end
        local text = ("$%d\r\n%s\r\n"):format(#command[2], command[2])
        local at = c.random(#text)
        link:say(text:sub(1, at))
        if c.random(4) == 1 then c.pass() end
        link:say(text:sub(at + 1))
        return false
      end,
      BLPOP = function(command)
        c.pass()
        return ("*2\r\n+%s\r\n+x\r\n"):format(command[2])
      end,
      EXEC = function() return c.random(3) == 1 and "*-1\r\n" or "*1\r\n+done\r\n" end,
      PING = "+PONG\r\n",
    }
  end
end

--- A client, its links, and what ends both.
local function open(serve, opts)
  local links, _, close = fake.open(serve)
  local client = asyncio.redis.connect(opts)
  return client, function()
    client:close()
    close()
  end, links
end

local function is_loss(err)
  return asyncio.isinstance(err, asyncio.ConnectionError) or asyncio.isinstance(err, asyncio.TimeoutError)
end

local function get(client, key, may_lose)
  local ok, value = asyncio.pcall(client.get, client, key)
  if ok then check(value, key) elseif not (may_lose and is_loss(value)) then error(value, 0) end
end

--- Others who call meanwhile; what waits for them.
local function others(client, may_lose)
  return beside.others(3, 5, function(i, k) get(client, ("%d.%d"):format(i, k), may_lose) end)
end

local function gets(loses)
  return function(c)
    local client, close = open(handler(c, loses))
    local wait = others(client, loses)
    return function()
      for i = 1, 10 do get(client, "mine " .. i, loses) end
    end, function()
      wait()
      close()
    end
  end
end

return {
  { "redis get", "virtual", gets(false) },
  { "redis get, connections are lost", "virtual", gets(true) },

  { "redis pipeline", "virtual", function(c)
    local client, close = open(handler(c))
    local wait = others(client)
    return function()
      for i = 1, 5 do
        local list = client:pipeline(function(p)
          for k = 1, 3 do p:get(i .. "," .. k) end
        end)
        for k = 1, 3 do check(list[k], i .. "," .. k) end
      end
    end, function()
      wait()
      close()
    end
  end },

  { "redis transaction", "virtual", function(c)
    local client, close = open(handler(c))
    local wait = others(client)
    return function()
      for _ = 1, 3 do
        local list = client:transaction(function(p) p:set("k", client:get "v") end, { watch = { "k" }, attempts = 100 })
        check(list[1], "done")
      end
    end, function()
      wait()
      check(client:get "end", "end")
      close()
    end
  end },

  { "redis blpop", "virtual", function(c)
    local client, close = open(handler(c), { max_connections = 2 })
    local function pop(key) check(client:blpop(key, 0)[1], key) end
    local rivals = { asyncio.create_task(pop, "a"), asyncio.create_task(pop, "b") }
    return function()
      for i = 1, 3 do pop("mine" .. i) end
    end, function()
      for _, rival in ipairs(rivals) do asyncio.await(rival) end
      pop "end"
      close()
    end
  end },

  { "redis subscription", "virtual", function(c)
    local client, close = open(function(link)
      link:serve { SUBSCRIBE = function()
        link:say ">3\r\n+subscribe\r\n+c\r\n:1\r\n"
        for i = 1, 30 do
          if c.random(3) == 1 then c.pass() end
          link:say((">3\r\n+message\r\n+c\r\n+%d\r\n"):format(i))
        end
        return false
      end }
    end)
    local messages = client:subscribe { channels = { "c" } }
    local taken = 0
    local function take()
      local kind, _, data = messages()
      check(kind, "message")
      check(data, tostring(taken + 1))
      taken = taken + 1
    end
    return function()
      for _ = 1, 20 do take() end
    end, function()
      while taken < 30 do take() end
      messages:close()
      close()
    end
  end },

  { "redis connect", "virtual", function(c)
    local _, _, close = fake.open(function(link)
      c.pass()
      link:serve { SELECT = function() c.pass() end }
    end)
    return function()
      local client <close> = asyncio.redis.connect { db = 1 }
      check(client:get "k", "k")
    end, close
  end },
}
