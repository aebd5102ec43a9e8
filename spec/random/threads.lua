--- Statements about threads: executors and their jobs, channels, remotes.
local asyncio = require "asyncio"

-- Jobs: they cross to another Lua state, so they have no upvalues but each other and modules.
local JOBS = {
  function(x) return x, 1 end,
  function() error "a job's error" end,
  function() error(require("asyncio").Error "a job's error object") end,
  function() require("asyncio").blocking_sleep(0.001) return "slept" end,
  function() return require("asyncio").run(function() return require("asyncio").sleep(0.0005, "ran") end) end,
  function() return require("asyncio").thread_cancelled() end,
  function()
    local list = {}
    for i = 1, 2000 do list[i] = { i } end
    return #list
  end,
  function() return coroutine.create(print) end, -- can't come back
}

local function job(n) return JOBS[n % #JOBS + 1] end

local function through(channel, n)
  for i = 1, n do
    if not pcall(channel.put_nowait, channel, i) then return i, pcall(channel.get_nowait, channel) end
  end
end

local function waits_in(channel) return channel:get() end

local function called() end
local function calls(remote)
  for _ = 1, 3 do remote:call_soon_threadsafe(called) end
end

local function simple(kind, method, weight)
  return { kind .. ":" .. method, weight, on = kind, quick = true, run = function(_, _, object)
    return object[method](object)
  end }
end

local function submitted(env, executor, ...) return env:add("future", executor:submit(...)) end

return {
  { "new executor", 2, quick = true, run = function(env, s)
    env:add("executor", asyncio.ThreadPoolExecutor(s.b % 2 + 1))
  end },
  { "executor:submit", 6, on = "executor", quick = true, run = function(env, s, executor)
    submitted(env, executor, job(s.b), env:value(s.c))
  end },
  { "run_in_executor", 3, quick = true, run = function(env, s)
    local executor = s.c % 2 == 0 and env:pick("executor", s.a) or nil
    env:add("future", asyncio.get_running_loop():run_in_executor(executor, job(s.b)))
  end },
  { "set_default_executor", 1, on = "executor", quick = true, run = function(_, _, executor)
    return asyncio.get_running_loop():set_default_executor(executor)
  end },
  { "executor:map", 2, on = "executor", run = function(env, s, executor)
    return env:briefly(s.c, executor.map, executor, job(s.b), { 1, 2, 3 })
  end },
  { "executor:shutdown", 2, on = "executor", run = function(env, s, executor)
    return env:briefly(s.c, executor.shutdown, executor, { wait = s.a % 2 == 0, cancel_futures = s.b % 2 == 0 })
  end },
  { "an executor for a block", 2, bodies = { "task" }, run = function(env, s)
    local initializer = s.c % 5 == 0 and job(1) or nil -- which fails
    local executor <close> = asyncio.ThreadPoolExecutor { max_workers = 1, initializer = initializer }
    submitted(env, env:add("executor", executor), job(s.b))
    env:block(s[1])
  end },
  { "to_thread", 3, run = function(env, s)
    return env:briefly(s.c, asyncio.to_thread, job(s.b), env:value(s.a))
  end },

  { "new channel", 2, quick = true, run = function(env, s)
    local channel = env:add("channel", asyncio.Channel(s.b % 3))
    table.insert(env.channels, channel) -- a thread may wait in it: closed at the end
  end },
  { "channel:put", 2, on = "channel", run = function(env, s, channel)
    return env:briefly(1, channel.put, channel, env:value(s.b))
  end },
  { "channel:get", 3, on = "channel", run = function(env, _, channel) return env:briefly(1, channel.get, channel) end },
  { "channel:put_nowait", 2, on = "channel", quick = true, run = function(env, s, channel)
    return channel:put_nowait(env:value(s.b))
  end },
  { "a channel in a channel", 1, on = "channel", quick = true, run = function(env, s, channel)
    return channel:put_nowait { env:pick("channel", s.b), env:pick("remote", s.c) }
  end },
  { "channel:iter", 1, on = "channel", run = function(env, _, channel)
    return env:briefly(1, function()
      for n in channel:iter() do
        if n > 3 then break end
      end
    end)
  end },
  simple("channel", "get_nowait", 2), simple("channel", "close", 1), simple("channel", "qsize", 1),
  { "a thread uses a channel", 2, on = "channel", run = function(env, s, channel)
    return env:briefly(s.c, asyncio.to_thread, through, channel, s.b % 9)
  end },
  { "a thread waits in a channel", 2, on = "executor", quick = true, run = function(env, s, executor)
    local channel = env:pick("channel", s.b)
    if channel then submitted(env, executor, waits_in, channel) end
  end },

  { "loop:remote", 2, quick = true, run = function(env) env:add("remote", asyncio.get_running_loop():remote()) end },
  { "remote:call_soon_threadsafe", 2, on = "remote", quick = true, run = function(env, s, remote)
    return remote:call_soon_threadsafe(called, env:value(s.b))
  end },
  { "a thread uses a remote", 3, on = "remote", run = function(env, s, remote)
    return env:briefly(s.c, asyncio.to_thread, calls, remote)
  end },
}
