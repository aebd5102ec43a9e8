--- Statements about futures and their callbacks.
local asyncio = require "asyncio"

return {
  { "create_future", 6, quick = true, run = function(env)
    return env:add("future", asyncio.get_running_loop():create_future())
  end },
  { "future:set_result", 6, on = "future", quick = true, run = function(env, s, future)
    return future:set_result(env:value(s.b), env:value(s.c))
  end },
  { "future:set_exception", 3, on = "future", quick = true, run = function(env, s, future)
    return future:set_exception(env:value(s.b))
  end },
  { "future:cancel", 4, on = "future", quick = true, run = function(env, s, future)
    return future:cancel(env:value(s.b))
  end },
  { "await a future", 5, on = "future", run = function(env, s, future)
    return env:briefly(s.b, asyncio.await, future)
  end },
  { "future:result", 2, on = "future", quick = true, run = function(_, _, future) return future:result() end },
  { "future:exception", 2, on = "future", quick = true, run = function(_, _, future) return future:exception() end },
  { "future:done", 1, on = "future", quick = true, run = function(_, _, future)
    return future:done(), future:cancelled(), #tostring(future) > 0
  end },
  { "future:traceback", 1, on = "future", quick = true, run = function(_, _, future)
    return future:traceback() and "text"
  end },
  { "future:get_loop", 1, on = "future", quick = true, run = function(_, _, future)
    return future:get_loop() and true
  end },
  { "future:add_done_callback", 5, on = "future", quick = true, bodies = { "quick" }, run = function(env, s, future)
    future:add_done_callback(env:add("callback", env:callback(s[1])))
  end },
  { "future:add_done_callback again", 2, on = "future", quick = true, run = function(env, s, future)
    return future:add_done_callback(env:pick("callback", s.b) or tostring)
  end },
  { "future:remove_done_callback", 3, on = "future", quick = true, run = function(env, s, future)
    return future:remove_done_callback(env:pick("callback", s.b))
  end },
}
