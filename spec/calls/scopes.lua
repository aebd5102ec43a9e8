-- defer, shielded, await_callback: each request is delivered once, each deferred function runs once, what the
-- callback brings is had or was cancelled.
local asyncio = require "asyncio"

--- Runs fn and takes all requests that reach the task meanwhile and after it, until `asked()` have come.
local function receive(fn, asked)
  local got = {}
  local function catch(call)
    local ok, err = pcall(call)
    if not ok then
      assert(asyncio.isinstance(err, asyncio.CancelledError), err)
      assert(not got[err], "a request was delivered twice")
      got[err], got[#got + 1] = true, err
    end
    return ok
  end
  catch(fn)
  while #got < asked() do catch(function() asyncio.sleep(1000) end) end
  return #got
end

return {
  { "shielded", "virtual", function(c)
    local inside, broken, got, after = 0, false, nil, 0
    local seconds = c.one_of { nil, 0.1, 2 }
    local nested, waits = c.random(2) == 1, c.random(0, 3)
    local task
    local function body()
      task = asyncio.current_task()
      got = receive(function()
        do
          local _ <close> = asyncio.shielded(seconds)
          local whole = false
          local _ <close> = setmetatable({}, { __close = function() broken = not whole end })
          for _ = 1, waits do
            c.pass()
            if nested then
              local _ <close> = asyncio.shielded()
              c.pass()
            end
            assert(not asyncio.move_on_after(0.01, asyncio.sleep, 1000), "a scope inside does not work")
            inside = inside + 1
          end
          whole = true
        end
        asyncio.sleep(1000)
        after = after + 1
      end, function() return task:cancelling() end)
      error(asyncio.CancelledError "the end") -- for the engine's count
    end
    return body, function()
      if not task then return end -- it was cancelled before it began
      assert(got == task:cancelling(), "a request was lost")
      assert(seconds or not broken and inside == waits, "a shielded block was broken off")
      assert(after == 0 or got == 0 or task:cancelling() > 0)
    end
  end },

  { "shielded, and a timeout around it", "virtual", function(c)
    local whole, expired = true, false
    return function()
      for _ = 1, 3 do
        local ok, err = pcall(function()
          local _ <close> = asyncio.timeout(c.random() * 2)
          do
            local _ <close> = asyncio.shielded()
            whole = false
            asyncio.sleep(c.random() * 3) -- not so long that it is reported
            whole = true
          end
          asyncio.sleep(1000)
        end)
        assert(not ok and whole, "a shielded block was broken off")
        if not asyncio.isinstance(err, asyncio.TimeoutError) then error(err, 0) end
        expired = true
      end
    end, function(task)
      assert(whole)
      local left = task:cancelling()
      assert(expired or left > 0 or task:cancelled())
    end
  end },

  { "defer", "virtual", function(c)
    local made, run = 0, 0
    local fails = c.random(3) == 1
    local reports = 0
    asyncio.get_running_loop():set_exception_handler(function(_, context)
      assert(context.message:find "deferred", context.message)
      reports = reports + 1
    end)
    return function()
      for _ = 1, 5 do
        made = made + 1
        local _ <close> = asyncio.defer(function()
          run = run + 1
          c.pass()
          if fails then error("of fn", 0) end
        end)
        c.pass()
        if c.random(5) == 1 then error("of the block", 0) end
      end
    end, function(task)
      assert(run == made, "a deferred function did not run once")
      if task:cancelled() or fails then return end
      assert(reports == 0)
    end
  end },

  { "defer beside an error", "virtual", function(c)
    local task, got
    return function()
      task = asyncio.current_task()
      got = receive(function()
        local ok, err = pcall(function()
          local _ <close> = asyncio.defer(c.pass)
          error("of the block", 0)
        end)
        assert(not ok and err == "of the block", "the error was replaced")
        asyncio.sleep(1000)
      end, function() return task:cancelling() end)
      error(asyncio.CancelledError "the end")
    end, function()
      assert(not task or got == task:cancelling(), "a request was lost")
    end
  end },

  { "await_callback", "virtual", function(c)
    local begun, stopped, given, got = 0, 0, 0, 0
    return function()
      for _ = 1, 5 do
        local at_once = c.random(4) == 1
        local value = asyncio.await_callback(function(callback)
          begun = begun + 1
          local handle
          local function call()
            if not handle.stopped then given = given + 1 end
            callback(given)
          end
          handle = { cancel = function(self)
            self.stopped = true
            stopped = stopped + 1
          end }
          if at_once then
            call()
          else
            asyncio.create_task(function()
              c.pass()
              call()
            end)
          end
          return handle
        end)
        got = got + 1
        assert(value == given)
      end
    end, function()
      asyncio.sleep(100)
      assert(begun == got + stopped, "neither came nor was stopped")
      assert(begun - got <= 1)
    end
  end },
}
