-- Queues and semaphores: what a cancelled call has not taken is there for the next one.
local asyncio = require "asyncio"

return {
  { "Queue:get", "virtual", function(c)
    local queue, got = asyncio.Queue(), 0
    local feeder = asyncio.create_task(function()
      for i = 1, 8 do
        c.pass()
        queue:put(i)
      end
    end)
    return function()
      for i = 1, 8 do
        assert(queue:get() == i)
        got = i
      end
    end, function()
      asyncio.await(feeder)
      assert(queue:qsize() == 8 - got, "an item was lost")
      if got < 8 then assert(queue:get() == got + 1) end
    end
  end },

  { "Semaphore:acquire", "virtual", function(c)
    local semaphore = asyncio.Semaphore(2)
    local others = asyncio.TaskGroup()
    for _ = 1, 3 do
      others:create_task(function()
        local _ <close> = semaphore:acquire()
        c.pass()
      end)
    end
    return function()
      for _ = 1, 4 do
        local _ <close> = semaphore:acquire()
        c.pass()
      end
    end, function()
      do local _ <close> = others end
      for _ = 1, 2 do
        assert(not semaphore:locked(), "a permit was lost")
        semaphore:acquire()
      end
    end
  end },
}
