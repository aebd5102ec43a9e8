--- Statements about tasks: made, awaited, cancelled, in groups and below deadlines.
local asyncio = require "asyncio"

local RAISED = {
  function() error "an error" end,
  function() error(asyncio.Error "an error object") end,
  function() error {} end,
  function() error(nil) end,
  function() error(asyncio.CancelledError "made by hand") end,
  function() error(asyncio.TimeoutError "made by hand") end,
  function() error(asyncio.ExceptionGroup("made by hand", { "one", asyncio.Error "two" })) end,
}
local WHEN = { "FIRST_COMPLETED", "FIRST_EXCEPTION", "ALL_COMPLETED" }

--- Some tasks, futures and functions.
local function several(env, s)
  local list = {}
  for i = 1, s.b % 4 do list[i] = env:awaitable(s.a + 7 * i) end
  for i = 1, s.c % 3 do list[#list + 1] = env:body(s[1], s.c + i) end
  return list
end

local function closes(fn) return setmetatable({}, { __close = fn }) end

local function new_task(env, ...) return env:add("task", asyncio.create_task(...)) end

--- A message that is a string, or any value.
local function message(env, n) return n % 3 == 0 and "asked for" or n % 3 == 1 and env:value(n // 3) or nil end

return {
  { "create_task", 10, quick = true, bodies = { "task" }, run = function(env, s)
    return new_task(env, env:body(s[1], s.c), env:value(s.b))
  end },
  { "create_task of options", 2, quick = true, bodies = { "task" }, run = function(env, s)
    return new_task(env, { env:body(s[1], s.c), env:value(s.b), name = s.a % 2 == 0 and "named" or nil })
  end },
  { "create_task of a coroutine", 2, quick = true, bodies = { "task" }, run = function(env, s)
    return new_task(env, env:add("coroutine", coroutine.create(env:body(s[1], s.c))), env:value(s.b))
  end },
  { "loop:create_task", 1, on = "loop", quick = true, bodies = { "task" }, run = function(env, s, loop)
    return env:add("task", loop:create_task(env:body(s[1], s.c)))
  end },
  { "sleep", 8, run = function(env, s) return asyncio.sleep(env:delay(s.a), env:value(s.b)) end },
  { "sleep(0)", 6, run = function() return asyncio.sleep(0) end },
  { "await", 8, run = function(env, s)
    return env:briefly(s.b, function() return asyncio.await(env:awaitable(s.a)) end)
  end },
  { "await a value with __await", 1, bodies = { "task" }, run = function(env, s)
    return asyncio.await(setmetatable({}, { __await = env:body(s[1], s.c) }))
  end },
  { "task:cancel", 8, on = "task", quick = true, run = function(env, s, task)
    return task:cancel(message(env, s.b))
  end },
  { "cancel oneself", 1, run = function(env, s)
    local task = asyncio.current_task() -- none where a forgotten defer is called
    return task and task:cancel(message(env, s.b))
  end },
  { "task:uncancel", 3, on = "task", quick = true, run = function(_, _, task) return task:uncancel() end },
  { "task:cancelling", 1, on = "task", quick = true, run = function(_, _, task) return task:cancelling() end },
  { "task:set_name", 2, on = "task", quick = true, run = function(_, s, task)
    return task:set_name(s.b % 2 == 0 and "name" or tostring(s.c))
  end },
  { "task:get_name", 1, on = "task", quick = true, run = function(_, _, task) return task:get_name() end },
  { "task:get_coro", 3, on = "task", quick = true, run = function(env, _, task)
    local co = task:get_coro()
    if co then env:add("coro", co) end
    return co and "a coroutine"
  end },
  { "task:traceback", 2, on = "task", quick = true, run = function(_, _, task) return task:traceback() and "text" end },
  { "tostring(task)", 2, on = "task", quick = true, run = function(_, _, task) return #tostring(task) > 0 end },
  { "task:result", 2, on = "task", quick = true, run = function(_, _, task) return task:result() end },
  { "task:exception", 2, on = "task", quick = true, run = function(_, _, task) return task:exception() end },
  { "task:set_result", 1, on = "task", quick = true, run = function(_, _, task) return task:set_result(1) end },
  { "task:add_done_callback", 3, on = "task", quick = true, bodies = { "quick" }, run = function(env, s, task)
    task:add_done_callback(env:add("callback", env:callback(s[1])))
  end },
  { "task:remove_done_callback", 1, on = "task", quick = true, run = function(env, s, task)
    return task:remove_done_callback(env:pick("callback", s.b))
  end },
  { "all_tasks", 1, quick = true, run = function(env, s)
    local list = asyncio.all_tasks()
    if s.b % 4 == 0 then
      for _, task in ipairs(list) do
        if env.names[task] and task ~= asyncio.current_task() then task:cancel() end
      end
    end
    return #list
  end },
  { "format_call_graph", 2, quick = true, run = function(env, s)
    local what = ({ "all", env:pick("task", s.b), env:pick("future", s.b) })[s.a % 4]
    return #asyncio.format_call_graph(what) > 0
  end },
  { "gather", 4, bodies = { "task" }, run = function(env, s)
    return env:briefly(s.c, asyncio.gather, table.unpack(several(env, s)))
  end },
  { "gather to a list", 3, bodies = { "task" }, run = function(env, s)
    local list = several(env, s)
    list.return_exceptions = s.b % 2 == 0
    return #asyncio.gather(list)
  end },
  { "wait", 4, bodies = { "task" }, run = function(env, s)
    local done, pending = asyncio.wait(several(env, s), {
      timeout = s.a % 2 == 0 and env:delay(s.b) or nil, return_when = WHEN[s.c % 4],
    })
    return #done, #pending
  end },
  { "as_completed", 3, bodies = { "task", "task" }, run = function(env, s)
    local n = 0
    for future in asyncio.as_completed(several(env, s), { timeout = s.a % 2 == 0 and env:delay(s.b) or nil }) do
      n = n + (future:done() and 1 or 100)
      env:block(s[2])
      if s.c % 5 == 0 then break end
    end
    return n
  end },
  { "as_completed, kept", 1, quick = true, bodies = { "task" }, run = function(env, s)
    env:add("iterator", asyncio.as_completed(several(env, s), { timeout = env:delay(s.b) }))
  end },
  { "shield", 3, quick = true, run = function(env, s)
    return env:add("future", asyncio.shield(env:awaitable(s.a)))
  end },
  { "wait_for", 5, run = function(env, s)
    local aw = env:awaitable(s.a)
    if s.c % 4 == 0 then aw = asyncio.shield(aw) end
    return asyncio.wait_for(aw, env:delay(s.b))
  end },
  { "wait_for a function", 3, bodies = { "task" }, run = function(env, s)
    return asyncio.wait_for(env:body(s[1], s.c), env:delay(s.b))
  end },
  { "move_on_after", 4, bodies = { "task" }, run = function(env, s)
    return asyncio.move_on_after(env:delay(s.b), env:body(s[1], s.c), s.a)
  end },
  { "timeout", 4, bodies = { "task" }, run = function(env, s)
    local scope <close> = asyncio.timeout(s.c % 4 > 0 and env:delay(s.b) or nil)
    env:add("scope", scope)
    env:block(s[1])
    return scope:expired()
  end },
  { "shielded", 4, bodies = { "task" }, run = function(env, s)
    local shield <close> = asyncio.shielded(s.c % 4 == 0 and env:delay(s.b) or nil)
    env:block(s[1])
    return #tostring(shield) > 0
  end },
  { "a forgotten shield", 1, run = function(env, s)
    env:add("shield", asyncio.shielded(s.c % 2 == 0 and env:delay(s.b) or nil))
  end },
  { "a shield that another task leaves", 1, on = "shield", quick = true, run = function(_, _, shield)
    local _ <close> = shield
  end },
  { "defer", 3, bodies = { "task", "task" }, run = function(env, s)
    local _ <close> = asyncio.defer(env:body(s[2], 0), s.a)
    env:block(s[1])
  end },
  { "a forgotten defer", 1, bodies = { "task" }, run = function(env, s) asyncio.defer(env:body(s[1], s.c)) end },
  { "await_callback", 3, run = function(env, s)
    return asyncio.await_callback(function(callback)
      env:add("answer", callback)
      if s.a % 3 == 0 then
        callback(s.b)
      elseif s.a % 3 == 1 then
        return asyncio.get_running_loop():call_later(env:delay(s.b), callback, s.c)
      else
        asyncio.get_running_loop():call_later(env:delay(s.b), callback, s.c)
      end
    end)
  end },
  { "a callback again", 1, on = "answer", quick = true, run = function(_, s, callback) return callback(s.a) end },
  { "timeout_at", 1, bodies = { "task" }, run = function(env, s)
    local scope <close> = asyncio.timeout_at(asyncio.get_running_loop():time() + env:delay(s.b))
    env:block(s[1])
    return env:add("scope", scope):expired()
  end },
  { "a forgotten timeout", 1, run = function(env, s) env:add("scope", asyncio.timeout(env:delay(s.b))) end },
  { "scope:reschedule", 2, on = "scope", quick = true, run = function(env, s, scope)
    return scope:reschedule(s.c % 4 > 0 and asyncio.get_running_loop():time() + env:delay(s.b) or nil)
  end },
  { "scope:expired", 1, on = "scope", quick = true, run = function(_, _, scope)
    return scope:expired(), scope:when() and true, #tostring(scope) > 0
  end },
  { "TaskGroup", 5, bodies = { "task", "task", "task" }, run = function(env, s)
    local group <close> = asyncio.TaskGroup()
    env:add("group", group)
    for i = 1, s.b % 4 do env:add("task", group:create_task(env:body(s[i % 2 + 1], s.c + i))) end
    env:block(s[3])
    return #tostring(group) > 0
  end },
  { "a forgotten TaskGroup", 1, bodies = { "task" }, run = function(env, s)
    local group = env:add("group", asyncio.TaskGroup())
    env:add("task", group:create_task(env:body(s[1], s.c)))
  end },
  { "group:create_task", 2, on = "group", quick = true, bodies = { "task" }, run = function(env, s, group)
    return env:add("task", group:create_task(env:body(s[1], s.c)))
  end },
  { "group:cancel", 2, on = "group", quick = true, run = function(_, _, group) return group:cancel() end },
  { "raise", 3, quick = true, run = function(_, s) return RAISED[s.a % #RAISED + 1]() end },
  { "return an error", 1, quick = true, run = function(env, s) return env:value(s.a) end },
  { "pcall", 3, bodies = { "task" }, run = function(env, s) return pcall(env.body(env, s[1], s.b)) end },
  { "xpcall", 1, bodies = { "task" }, run = function(env, s)
    return asyncio.xpcall(env:body(s[1], s.b), function(err)
      env:judge("xpcall", err)
      return err
    end)
  end },
  { "a <close> that waits", 4, bodies = { "task", "task" }, run = function(env, s)
    local _ <close> = closes(env:body(s[2], 0))
    env:block(s[1])
  end },
  { "repeat", 2, bodies = { "task" }, run = function(env, s)
    for _ = 1, s.a % 4 do env:block(s[1]) end
  end },
  { "wait where nothing can", 1, bodies = { "task" }, run = function(env, s)
    local list = { 3, 1, 2 }
    table.sort(list, function(a, b)
      env:block(s[1])
      return a < b
    end)
  end },
  { "a stray yield", 1, run = function(_, s)
    if s.a % 4 == 0 then coroutine.yield(s.a) end
  end },
  { "use up the budget", 1, run = function(env, s)
    local lock = env:add("lock", asyncio.Lock())
    for _ = 1, 100 + s.a % 50 do
      lock:acquire()
      lock:release()
    end
  end },
}
