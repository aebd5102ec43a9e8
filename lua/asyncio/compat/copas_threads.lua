--- The threads of the copas face: each is a task, known by its coroutine.
-- @module asyncio.compat.copas_threads
local core = require "asyncio.core"
local home = require "asyncio.compat.home"
local idle = require "asyncio.compat.copas_idle"
local standard = require("asyncio.compat.standard").coroutine

local threads = {}

local MOST_STEP = 0.01 -- seconds between two steps in a task, where the others run by themselves

local worlds = setmetatable({}, { __mode = "k" }) -- loop → what copas does there
local by_coroutine = setmetatable({}, { __mode = "k" })
local by_task = setmetatable({}, { __mode = "k" })
local names = setmetatable({}, { __mode = "k" }) -- of coroutines and sockets
local waiting = {} -- threads that start with the next loop or step

local timers = standard.create(function() end) -- stands for who calls timeouts' callbacks
names[timers] = "copas_core_timer"

-- Worlds: `active` threads, those that are `dormant` until somebody wakes them, `timeouts` that run

local function world_of(loop)
  local world = worlds[loop]
  if not world then
    world = {
      loop = loop, loops = 0, threads = {}, exiting = false,
      active = 0, dormant = 0, sleeping = 0, timeouts = 0, reading = 0, writing = 0,
      waits = 0, next_sweep = 0,
    }
    worlds[loop] = world
  end
  return world
end

function threads.world()
  local loop, runner = home.loop()
  return world_of(loop), runner
end

local function finished(world)
  return not waiting[1] and world.active == 0 and not (world.timeouts > 0 and world.dormant > 0)
end

threads.finished = finished

--- Who waits for the end is told.
local function look(world)
  if world.changed and finished(world) then world.changed:set() end
end

-- Names

function threads.set_name(object, name) names[object] = name end

function threads.name_of(object)
  if object ~= nil and not names[object] then names[object] = tostring(object) end
  return names[object]
end

-- The current thread; a task that copas has not made has a record, too, but counts nowhere

function threads.current()
  local task = core.current_task()
  if not task then return nil end
  local thread = by_task[task]
  if not thread then
    thread = {
      co = task:get_coro(), task = task, world = world_of(task:get_loop()), foreign = true,
      removed = false, dormant = false, event = false,
    }
    by_task[task], by_coroutine[thread.co] = thread, thread
  end
  return thread
end

--- The coroutine that stands for who runs.
function threads.running()
  local thread = threads.current()
  return thread and thread.co or standard.running()
end

-- Waiting

local function count(thread, field, n)
  if not thread.foreign then thread.world[field] = thread.world[field] + n end
end

local function fall_asleep(thread)
  thread.dormant = true
  count(thread, "active", -1)
  count(thread, "dormant", 1)
  look(thread.world)
end

local function rise(thread)
  if not thread.dormant then return end
  thread.dormant = false
  count(thread, "active", 1)
  count(thread, "dormant", -1)
end

--- Suspends until it is woken, or so long; nil: without limit, which nobody waits for.
function threads.suspend(seconds)
  local thread = threads.current()
  if thread and thread.removed then error(core.CancelledError(), 0) end
  local event = core.Event()
  if not thread then return event:wait() end -- raises
  idle.note(thread.world)
  local timer
  if seconds then
    timer = thread.world.loop:call_later(seconds, event.set, event)
    count(thread, "sleeping", 1)
  else
    fall_asleep(thread)
  end
  thread.event = event
  local ok, err = core.catch(event.wait, event)
  thread.event = false
  if timer then
    timer:cancel()
    count(thread, "sleeping", -1)
  end
  rise(thread)
  if not ok then error(err, 0) end
end

function threads.wake(co)
  local thread = by_coroutine[co]
  if thread and thread.event then
    rise(thread)
    thread.event:set()
  end
end

--- Gives way to the others.
function threads.pass()
  local thread = threads.current()
  if thread and thread.removed then error(core.CancelledError(), 0) end
  core.sleep(0)
end

-- Errors

function threads.is_cancelled(err) return core.isinstance(err, core.CancelledError) end

local handlers = setmetatable({}, { __mode = "k" })

function threads.traceback(message, co, skt)
  local co_name = co == nil and "nil" or threads.name_of(co)
  local skt_name = skt == nil and "nil" or threads.name_of(skt)
  local text = message == nil and "" or core.words(message)
  if type(message) == "string" then text = message end
  text = ("%s (coroutine: %s, socket: %s)"):format(text, co_name, skt_name)
  if not debug then return text end
  local elsewhere = type(co) == "thread" and co ~= timers and co ~= standard.running()
  if elsewhere then return debug.traceback(co, text) end
  return debug.traceback(text, 2)
end

local function print_error(message, co, skt) print(threads.traceback(message, co, skt)) end

threads.default_handler = print_error

function threads.set_handler(fn, co) handlers[co] = fn end

function threads.handler_of(co) return handlers[co] or threads.default_handler end

--- Tells the handler of an error, where it was raised.
function threads.handle(err, co, skt)
  local ok, why = pcall(threads.handler_of(co), err, co, skt)
  if not ok then print("Failed executing error handler: " .. tostring(why)) end
end

-- Threads

local function end_thread(thread)
  local world = thread.world
  if thread.ended then return end
  thread.ended = true
  world.threads[thread] = nil
  world.active = world.active - 1
  handlers[thread.co] = nil
  look(world)
  if thread.socket then thread.socket:close() end
  thread.task:remove_done_callback(thread.unstarted) -- the loop's queue would hold the thread for a turn
end

local function run(thread, fn, ...)
  if thread.ended then return end -- there was no memory left to start it
  local function on_error(err)
    if not threads.is_cancelled(err) then threads.handle(err, thread.co, thread.socket) end
    return err
  end
  local ok, err = xpcall(fn, on_error, ...)
  end_thread(thread)
  if not ok and threads.is_cancelled(err) then error(err, 0) end
end

local function begin(thread, world)
  local args = thread.args
  thread.args, thread.world = false, world
  local task = world.loop:create_task(thread.co, thread, table.unpack(args, 1, args.n))
  thread.task = task
  by_task[task] = thread
  task:set_name(threads.name_of(thread.co))
  function thread.unstarted() end_thread(thread) end -- it may be cancelled before it begins
  task:add_done_callback(thread.unstarted)
  world.threads[thread] = true
  world.active = world.active + 1
end

--- It counts once all of it is there.
local function start(thread, world)
  local ok, err = pcall(begin, thread, world)
  if ok then return end
  thread.ended = true
  if thread.task then thread.task:cancel() end
  error(err, 0)
end

--- Makes one, which starts in the next turn, or with the next loop. socket: is closed when it ends
function threads.add(name, socket, fn, ...)
  local co = standard.create(run)
  local thread = {
    co = co, args = table.pack(fn, ...), socket = socket, task = false, world = false,
    ended = false, removed = false, dormant = false, event = false, unstarted = false,
  }
  by_coroutine[co] = thread
  if name then names[co] = name end
  local loop = home.running()
  local world = loop and worlds[loop]
  if world and world.loops > 0 then
    start(thread, world)
  else
    waiting[#waiting + 1] = thread
  end
  return co
end

local function start_waiting(world)
  local list = waiting
  waiting = {}
  for _, thread in ipairs(list) do
    if not thread.ended then start(thread, world) end
  end
end

local function remove(thread)
  thread.removed = true
  if thread.task then
    rise(thread)
    thread.task:cancel()
  else
    thread.ended = true
  end
end

--- It gets no further than to its next wait.
function threads.remove(co)
  local thread = by_coroutine[co]
  if thread and not thread.ended and not thread.foreign then remove(thread) end
end

-- Timeouts, one for each coroutine

local timeouts = setmetatable({}, { __mode = "k" }) -- coroutine → { handle =, world = }

local function forget_timeout(co, timeout)
  timeouts[co] = nil
  timeout.world.timeouts = timeout.world.timeouts - 1
  look(timeout.world)
end

--- Calls callback(coroutine) after so long; 0 or infinite: no more.
function threads.timeout(delay, callback)
  local co = threads.running()
  if timeouts[co] then
    timeouts[co].handle:cancel()
    forget_timeout(co, timeouts[co])
  end
  if type(delay) ~= "number" or delay ~= delay or delay < 0 then
    error("timout value must be greater than or equal to 0, got: " .. tostring(delay), 3)
  elseif delay == 0 or delay == math.huge then
    return true
  end
  local world = threads.world()
  local timeout = { world = world }
  timeout.handle = world.loop:call_later(delay, function()
    forget_timeout(co, timeout)
    xpcall(callback, function(err) threads.handle(err, timers) end, co)
    look(world)
  end)
  timeouts[co] = timeout
  world.timeouts = world.timeouts + 1
  return true
end

-- Running them

local function cancel_all(world)
  for thread in pairs(world.threads) do remove(thread) end
  for _, thread in ipairs(waiting) do thread.ended = true end
  waiting = {}
end

threads.cancel_all = cancel_all

local function wait_for_end(world, exit)
  while true do
    while not finished(world) do
      world.changed = core.Event()
      world.changed:wait()
    end
    if world.exiting then return end
    exit()
  end
end

local function wait_for_threads(world)
  while world.active > 0 do
    world.changed = core.Event()
    world.changed:wait()
  end
end

local function run_loop(world, exit)
  world.loops = world.loops + 1
  start_waiting(world)
  local ok, err = core.catch(wait_for_end, world, exit)
  local waited = ok
  while not waited do -- cancelled again, it asks again
    cancel_all(world)
    waited = core.catch(wait_for_threads, world)
  end
  world.loops = world.loops - 1
  if world.loops == 0 then idle.stop(world) end
  if not ok then error(err, 0) end
end

--- Runs them until they have ended: `exit` is called then, and what that wakes runs, too.
function threads.loop(exit)
  local world, runner = threads.world()
  if core.in_run() then return run_loop(world, exit) end
  runner:run(run_loop, world, exit)
end

--- One turn; whether it was not just a wait.
function threads.step(seconds)
  local world, runner = threads.world()
  world.loops = world.loops + 1
  start_waiting(world)
  local began = world.loop:time()
  local ok, err
  if core.in_run() then
    ok, err = core.catch(core.sleep, math.min(seconds or MOST_STEP, MOST_STEP))
  else
    ok, err = pcall(world.loop.run_once, world.loop, finished(world) and 0 or seconds or math.huge)
  end
  world.loops = world.loops - 1
  if not ok then error(err, 0) end
  return runner == nil or not seconds or world.loop:time() - began < seconds
end

return threads
