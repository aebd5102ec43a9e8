--- Runs one program in this process, and says what was wrong with it.
local asyncio = require "asyncio"
local core = require "asyncio.core"
local new_env = require "random.env"
local new_random = require "model.random"
local use_again = require "random.after"

local LIMIT = { virtual = 300, real = 0.03 } -- seconds that the tasks have, of the program's clock

local DEFAULT = { "incremental", 200, 100, 13 }

local function set_collector(settings)
  collectgarbage "restart"
  collectgarbage(table.unpack(settings))
end

local function is_slow_step(context)
  return context.message:find "held the loop" or context.message:find "a callback took"
end

--- What is reported is judged; in a program that repeats itself it belongs to the trace. `list`: what to do then.
local function set_handler(env, list)
  if not env.loop then return end -- its time is over
  env.loop:set_exception_handler(function(_, context)
    if is_slow_step(context) then return end
    env:judge("a report", context.exception)
    env:judge("a report", context.message)
    if context.message:find "abandoned" then env.abandoned = true end
    if env.program.gc == "stopped" then env:trace("a report: " .. context.message, context.exception) end
    if not list or env.handling then return end -- else one that reports never ends
    env.handling = true
    local ok, err = pcall(env.quick, env, list)
    env.handling = false
    if not ok then error(err, 0) end
  end)
end

local function main(env)
  local tasks = {}
  for i, list in ipairs(env.program.tasks) do
    if env.program.bare and i == 1 then
      env:add("task", asyncio.current_task())
    else
      tasks[#tasks + 1] = env:add("task", asyncio.create_task(env:body(list, i)))
    end
  end
  if env.program.bare then return env:block(env.program.tasks[1]) end
  asyncio.wait(tasks, { timeout = LIMIT[env.program.mode] })
end

--- The end of its loop: as a run ends, closed beneath its tasks, or left as it is for the collector.
local function finish(env)
  local ending, ok, err = env.program.ending, true, nil
  if ending == "in order" then
    ok, err = pcall(env.runner.close, env.runner)
  elseif ending == "closed" then
    ok, err = pcall(env.loop.close, env.loop)
  end
  if not ok then env:judge("close", err) end
  -- A `loop:stop` among what still ran breaks the end off, as in asyncio: the tasks that were left are abandoned.
  if not ok and tostring(err):find "stopped before" then env.abandoned = true end
  env:trace("the loop ends", ending, ok, err)
end

local function run(env)
  local runner = asyncio.Runner {
    debug = env.program.debug, cancel_timeout = env.program.mode == "virtual" and 1 or 0.01, flush_timeout = 0.02,
    executor_timeout = 5,
  }
  env.runner, env.loop = env:add("runner", runner), env:add("loop", runner:get_loop())
  env.doors = setmetatable({}, { __mode = "k" })
  env.set_handler = set_handler
  if env.program.mode == "virtual" then core.testing.set_virtual(env.loop) end
  set_handler(env)
  local ok, err = pcall(runner.run, runner, main, env)
  if not ok then env:judge("run", err) end
  env:trace("main ends", ok, err)
  env.stopping = true
  for _, channel in ipairs(env.channels) do channel:close() end
  finish(env)
end

--- What must hold when the loop has closed.
local function check_end(env)
  local ending = env.program.ending
  if ending ~= "dropped" and not env.loop:is_closed() then env:fail "the loop is not closed" end
  if env.abandoned or ending ~= "in order" then return end
  for _, thing in ipairs(env.kept) do
    if env.own[thing.object] and not thing.object:done() then
      env:fail("a task has not ended: " .. tostring(thing.object))
    end
  end
end

--- Its failures: a list of texts.
return function(program, trace, skip)
  local env = new_env(program, trace, skip)
  local random = new_random(program.seed + 1)
  if program.repeats then collectgarbage() end -- it begins where a cycle begins, whatever ran here before
  set_collector(program.collector)
  run(env)
  check_end(env)
  if not skip.after then use_again(env, random, random:chance(program.mode == "real" and 50 or 10)) end
  set_collector(DEFAULT)
  return env.told
end
