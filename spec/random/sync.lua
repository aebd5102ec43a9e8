--- Statements about locks, events, conditions, semaphores, barriers and queues.
local asyncio = require "asyncio"

local QUEUES = { asyncio.Queue, asyncio.LifoQueue, asyncio.PriorityQueue }

local function new(kind, make)
  return { "new " .. kind, 2, quick = true, run = function(env, s) return env:add(kind, make(s, env)) end }
end

--- A method that takes nothing and doesn't wait.
local function simple(kind, method, weight)
  return { kind .. ":" .. method, weight or 1, on = kind, quick = true, run = function(_, _, object)
    return object[method](object)
  end }
end

--- Holds it while a block is done.
local function hold(kind)
  return { "hold a " .. kind, 4, on = kind, bodies = { "task" }, run = function(env, s, object)
    local _ <close> = object:acquire()
    env:block(s[1])
  end }
end

--- Acquires it without a `<close>`.
local function acquire(kind)
  return { kind .. ":acquire", 2, on = kind, run = function(env, s, object)
    return env:briefly(s.b, object.acquire, object)
  end }
end

local function to_string(kind)
  return { "tostring(" .. kind .. ")", 1, on = kind, quick = true, run = function(_, _, object)
    return #tostring(object) > 0
  end }
end

--- Numbers for the queue that compares, else anything.
local function item(env, s) return s.c % 3 > 0 and s.c or env:value(s.b) end

return {
  new("lock", function() return asyncio.Lock() end),
  hold "lock", acquire "lock", simple("lock", "release", 3), simple("lock", "locked"), to_string "lock",

  new("event", function() return asyncio.Event() end),
  { "event:wait", 4, on = "event", run = function(env, s, event) return env:briefly(s.b, event.wait, event) end },
  simple("event", "set", 4), simple("event", "clear", 2), simple("event", "is_set"), to_string "event",

  new("condition", function(s, env) return asyncio.Condition(s.a % 2 == 0 and env:pick("lock", s.b) or nil) end),
  { "condition:wait", 4, on = "condition", run = function(env, s, condition)
    local _ <close> = condition:acquire()
    return env:briefly(s.b, condition.wait, condition)
  end },
  { "condition:wait_for", 2, on = "condition", run = function(env, s, condition)
    local _ <close> = condition:acquire()
    local n = 0
    return env:briefly(s.b, condition.wait_for, condition, function()
      n = n + 1
      return n > s.c % 3
    end)
  end },
  { "condition:notify", 3, on = "condition", run = function(_, s, condition)
    local _ <close> = condition:acquire()
    return condition:notify(s.b % 4)
  end },
  hold "condition", simple("condition", "notify_all", 2), simple("condition", "release"),
  simple("condition", "locked"), to_string "condition",

  new("semaphore", function(s)
    return (s.a % 2 == 0 and asyncio.Semaphore or asyncio.BoundedSemaphore)(s.b % 3)
  end),
  hold "semaphore", acquire "semaphore", simple("semaphore", "release", 3), simple("semaphore", "locked"),
  to_string "semaphore",

  new("barrier", function(s) return asyncio.Barrier(s.b % 3 + 1) end),
  { "barrier:wait", 4, on = "barrier", run = function(env, s, barrier)
    return env:briefly(s.b, barrier.wait, barrier)
  end },
  simple("barrier", "abort"), simple("barrier", "reset", 2), simple("barrier", "n_waiting"),
  simple("barrier", "broken"), to_string "barrier",

  { "new queue", 4, quick = true, run = function(env, s)
    return env:add("queue", QUEUES[s.a % 3 + 1](s.b % 3))
  end },
  { "queue:put", 5, on = "queue", run = function(env, s, queue)
    return env:briefly(s.b, queue.put, queue, item(env, s))
  end },
  { "queue:get", 6, on = "queue", run = function(env, s, queue) return env:briefly(s.b, queue.get, queue) end },
  { "queue:put_nowait", 4, on = "queue", quick = true, run = function(env, s, queue)
    return queue:put_nowait(item(env, s))
  end },
  { "queue:join", 2, on = "queue", run = function(env, s, queue) return env:briefly(s.b, queue.join, queue) end },
  { "queue:shutdown", 1, on = "queue", quick = true, run = function(_, s, queue)
    return queue:shutdown(s.b % 2 == 0)
  end },
  { "queue:iter", 2, on = "queue", bodies = { "task" }, run = function(env, s, queue)
    return env:briefly(s.b, function()
      for n in queue:iter() do
        env:block(s[1])
        if n > s.c % 5 then break end
      end
    end)
  end },
  simple("queue", "get_nowait", 3), simple("queue", "task_done", 3), simple("queue", "qsize"),
  simple("queue", "empty"), simple("queue", "full"), to_string "queue",
}
