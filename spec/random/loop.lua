--- Statements about the loop: callbacks, the exception handler, debug mode, contexts, other loops.
local asyncio = require "asyncio"
local testing = require "asyncio.testing"

local DROPPED = {
  "task", "future", "lock", "event", "condition", "semaphore", "barrier", "queue", "handle", "coroutine", "coro",
  "scope", "group", "reader", "writer", "server", "executor", "channel", "remote", "socket", "loop", "iterator",
}

local function running() return asyncio.get_running_loop() end

return {
  { "call_soon", 5, quick = true, bodies = { "quick" }, run = function(env, s)
    env:add("handle", running():call_soon(env:callback(s[1]), env:value(s.b)))
  end },
  { "call_later", 4, quick = true, bodies = { "quick" }, run = function(env, s)
    env:add("handle", running():call_later(env:delay(s.b), env:callback(s[1])))
  end },
  { "call_at", 1, quick = true, bodies = { "quick" }, run = function(env, s)
    env:add("handle", running():call_at(running():time() + env:delay(s.b), env:callback(s[1])))
  end },
  { "handle:cancel", 3, on = "handle", quick = true, run = function(_, _, handle) return handle:cancel() end },
  { "handle:when", 1, on = "handle", quick = true, run = function(_, _, handle)
    return handle:when() and true, handle:cancelled(), #tostring(handle) > 0
  end },
  { "call_exception_handler", 1, quick = true, run = function(env, s)
    return running():call_exception_handler {
      message = "by hand", exception = env:value(s.b), task = env:pick("task", s.c),
    }
  end },
  { "set_exception_handler", 1, quick = true, bodies = { "quick" }, run = function(env, s)
    env:set_handler(s[1])
    return running():get_exception_handler() and true
  end },
  { "set_debug", 1, quick = true, run = function(_, s)
    running():set_debug(s.a % 2 == 0)
    return running():get_debug()
  end },
  { "slow_callback_duration", 1, quick = true, run = function(_, s)
    running().slow_callback_duration = ({ 0, 0.00001, 0.1 })[s.a % 3 + 1]
  end },
  { "loop:stop", 1, quick = true, run = function(_, s)
    if s.a % 4 == 0 then running():stop() end
  end },
  { "nested runs", 1, quick = true, run = function(_, s)
    if s.a % 3 == 0 then return running():close() end
    if s.a % 3 == 1 then return running():run_until_complete(print) end
    return asyncio.run(print)
  end },
  { "a run in a finaliser", 1, quick = true, run = function(env, s)
    if not asyncio.current_task() and s.a % 4 == 0 then return asyncio.run(env:body({}, 1)) end
  end },
  { "new_event_loop", 1, quick = true, run = function(env) env:add("loop", asyncio.new_event_loop()) end },
  { "a future of another loop", 1, on = "loop", quick = true, run = function(env, _, loop)
    env:add("future", loop:create_future())
  end },
  { "a callback of another loop", 1, on = "loop", quick = true, bodies = { "quick" }, run = function(env, s, loop)
    env:add("handle", loop:call_later(env:delay(s.b), env:callback(s[1])))
  end },
  { "loop:close", 1, on = "loop", quick = true, run = function(env, _, loop)
    loop:close()
    env.abandoned = env.abandoned or loop == env.loop -- its tasks stay as they are
    return loop:is_closed()
  end },
  { "wait_all_tasks_blocked", 1, run = function(env, s)
    return env:briefly(s.a, testing.wait_all_tasks_blocked)
  end },

  { "new ContextVar", 2, quick = true, run = function(env, s)
    if s.a % 2 == 0 then return env:add("var", asyncio.ContextVar("with a default", env:value(s.b))) end
    return env:add("var", asyncio.ContextVar "without")
  end },
  { "var:set", 2, on = "var", quick = true, run = function(env, s, var)
    return env:add("token", var:set(env:value(s.b)))
  end },
  { "var:set for a block", 2, on = "var", bodies = { "task" }, run = function(env, s, var)
    local _ <close> = var:set(env:value(s.b))
    env:block(s[1])
    return var:get()
  end },
  { "var:get", 2, on = "var", quick = true, run = function(_, _, var) return var:get() end },
  { "var:reset", 1, on = "var", quick = true, run = function(env, s, var)
    return var:reset(env:pick("token", s.b))
  end },

  { "collectgarbage", 4, quick = true, run = function() collectgarbage() end },
  { "a step of the collector", 2, quick = true, run = function(_, s) collectgarbage("step", s.a % 20) end },
  { "drop", 5, quick = true, run = function(env, s) return env:drop(DROPPED[s.a % #DROPPED + 1], s.b) end },
}
