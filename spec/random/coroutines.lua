--- Statements about coroutines: generators that await, and strangers that resume or close a task's own.
local asyncio = require "asyncio"

local inner = asyncio.coroutine

local function generator(env, s)
  return function(...)
    local _ <close> = env:witness "a coroutine"
    env:block(s[1])
    for i = 1, s.b % 4 do
      local _ <close> = setmetatable({}, { __close = function() env:block(s[2]) end })
      inner.yield(i, ...)
    end
    return s.b
  end
end

local function quiet(_, ...) return select("#", ...) end -- what a stranger gets tells nothing

return {
  { "new coroutine", 3, quick = true, bodies = { "task", "task" }, run = function(env, s)
    env:add("coroutine", inner.create(generator(env, s)))
  end },
  { "coroutine.resume", 4, on = "coroutine", run = function(env, s, co)
    return env:briefly(s.b, inner.resume, co, env:value(s.c))
  end },
  { "coroutine.wrap", 3, bodies = { "task", "task" }, run = function(env, s)
    local n = 0
    for _ in env:add("iterator", inner.wrap(generator(env, s))) do
      n = n + 1
      if n > s.c % 4 then break end
    end
    return n
  end },
  { "call an iterator", 2, on = "iterator", run = function(env, s, iterator) return env:briefly(s.b, iterator) end },
  { "coroutine.close", 3, on = "coroutine", quick = true, run = function(_, _, co) return inner.close(co) end },
  { "coroutine.status", 1, on = "coroutine", quick = true, run = function(_, _, co)
    return inner.status(co), coroutine.status(co)
  end },
  { "await a coroutine", 3, on = "coroutine", run = function(env, s, co)
    return env:briefly(s.b, asyncio.await, co)
  end },
  { "the standard wrap", 1, bodies = { "task", "task" }, run = function(env, s)
    local next_one = env:add("iterator", coroutine.wrap(generator(env, s)))
    next_one()
    return next_one()
  end },
  { "the standard resume", 2, on = "coroutine", quick = true, run = function(env, s, co)
    return coroutine.resume(co, env:value(s.b))
  end },
  { "the standard close", 2, on = "coroutine", quick = true, run = function(_, _, co)
    return coroutine.close(co)
  end },

  { "a stranger resumes", 2, on = "coro", quick = true, run = function(env, s, co)
    return quiet(coroutine.resume(co, env:value(s.b)))
  end },
  { "a stranger closes", 2, on = "coro", quick = true, run = function(_, _, co) return quiet(coroutine.close(co)) end },
  { "a stranger resumes ours", 1, on = "coro", run = function(env, s, co)
    return quiet(inner.resume(co, env:value(s.b)))
  end },
  { "a stranger closes ours", 1, on = "coro", run = function(_, _, co) return quiet(inner.close(co)) end },
  { "a stranger awaits", 1, on = "coro", run = function(env, s, co)
    return env:briefly(s.b, asyncio.await, co)
  end },
  { "a stranger looks", 1, on = "coro", quick = true, run = function(_, _, co)
    return #debug.traceback(co) > 0, inner.status(co)
  end },
}
