-- Ending tasks: what was begun has ended when the call that ends it is over, whichever way that is.
local asyncio = require "asyncio"

local function guard(fn) return setmetatable({}, { __close = fn }) end

--- Counts those that have begun and not ended, in `c.live`; some take a turn to clean up.
local function counted(c, fn)
  return function(...)
    c.live = c.live + 1
    local _ <close> = guard(function() c.live = c.live - 1 end)
    local _ <close> = guard(function()
      if c.random(2) == 1 then asyncio.sleep(0) end
    end)
    return fn(...)
  end
end

--- Looks at the error of a task that has ended, which is reported otherwise where an error leaves its block.
local function looked_at(task)
  return guard(function()
    assert(task:done(), "it goes on")
    pcall(task.exception, task)
  end)
end

--- Takes some time, and ends with a result or, `fails` times in 4, with an error.
local function part(c, fails)
  return counted(c, function(x)
    c.pass()
    if c.random(4) <= fails then error("bad", 0) end
    c.pass()
    return x
  end)
end

--- Looks that nothing goes on.
local function all_have_ended(c)
  assert(c.live == 0, c.live .. " go on")
  assert(#asyncio.all_tasks() == 1, "a task goes on")
end

--- So many calls of `one`, with what comes of each. A failure of our own making is none.
local function repeated(c, one)
  c.live = 0
  return function()
    for _ = 1, 3 do
      local ok, err = pcall(one)
      if not ok and (err ~= "bad" and not asyncio.isinstance(err, asyncio.ExceptionGroup)) then error(err, 0) end
      assert(c.live == 0, "the call has left something")
    end
  end, function() all_have_ended(c) end
end

return {
  { "race", "virtual", function(c)
    return repeated(c, function()
      local task = c.random(2) == 1 and asyncio.create_task(part(c, 1), "task")
      local list = { part(c, 1), part(c, 2), c.one_of { part(c, 0), part(c, 4) }, task or part(c, 3) }
      if c.random(3) == 1 and task then task:cancel() end
      local _ <close> = task and looked_at(task) or nil
      asyncio.race(table.unpack(list))
    end)
  end },

  { "map", "virtual", function(c)
    local limit = c.one_of { 1, 2, 5, nil }
    return repeated(c, function()
      local results = asyncio.map(part(c, c.one_of { 0, 0, 1 }), { 1, 2, 3, 4, 5, 6 }, { max_concurrent = limit })
      for i = 1, 6 do assert(results[i] == i, "a result was lost") end
    end)
  end },

  { "Task:stop", "virtual", function(c)
    return repeated(c, function()
      local task = asyncio.create_task(part(c, 1))
      local _ <close> = looked_at(task)
      local _ <close> = guard(function() task:stop() end)
      c.pass()
      if c.random(3) == 1 then task:cancel() end
    end)
  end },

  { "leaving a task's block", "virtual", function(c)
    return repeated(c, function()
      local one, other = asyncio.create_task(part(c, 1)), asyncio.create_task(part(c, 1))
      local _ <close> = looked_at(one)
      local _ <close> = looked_at(other)
      local _ <close> = one
      local _ <close> = other
      c.pass()
      if c.random(3) == 1 then error("bad", 0) end
    end)
  end },

  { "TaskGroup:start", "virtual", function(c)
    return repeated(c, function()
      local group <close> = asyncio.TaskGroup()
      local begun, given = 0, 0
      for _ = 1, 2 do
        given = given + group:start(counted(c, function(started)
          c.pass()
          if c.random(6) == 1 then error("bad", 0) end
          begun = begun + 1
          started(1)
          c.pass()
          if c.random(6) == 1 then error("bad", 0) end
        end))
        assert(given == begun, "one has started that nobody was told of")
      end
    end)
  end },
}
