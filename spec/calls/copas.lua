-- copas: threads that are removed and loops that are cancelled at random; what they hold comes back, sockets are
-- closed, and a loop ends only when its threads have.
local asyncio = require "asyncio"
local copas, socket = asyncio.compat.copas, require "asyncio.socket"

local function note() end -- errors are looked for by the invariants

--- Runs the body as the only thread of a loop; `live` counts who is in it.
local function looping(c, body)
  copas.seterrorhandler(note, true)
  local w = { live = 0, threads = {} }
  function w.add(fn)
    w.threads[#w.threads + 1] = copas.addthread(function()
      w.live = w.live + 1
      local _ <close> = setmetatable({}, { __close = function() w.live = w.live - 1 end })
      fn()
    end)
  end
  function w.remove_some()
    for _ = 1, c.random(0, 3) do
      copas.pause(c.random() * (c.clock == "virtual" and 2 or 0.004))
      if w.threads[1] then copas.removethread(w.threads[c.random(#w.threads)]) end
    end
  end
  return w, function()
    copas.loop(function() body(w) end)
    assert(w.live == 0, "the loop ended before its threads")
  end
end

return {
  { "copas: locks and semaphores", "virtual", function(c)
    local lock, semaphore = copas.lock.new(), copas.semaphore.new(3, 2)
    local inside, taken = 0, 0
    local w, victim = looping(c, function(w)
      for _ = 1, 6 do
        w.add(function()
          if not lock:get(c.random() * 3) then return end
          inside = inside + 1
          assert(inside == 1)
          local _ <close> = setmetatable({}, { __close = function()
            inside = inside - 1
            lock:release()
          end })
          copas.pause(c.random())
        end)
        w.add(function()
          if not semaphore:take(c.random(2), c.random() * 3) then return end
          taken = taken + 1
          copas.pause(c.random())
          semaphore:give(2) -- too many are lost
        end)
      end
      w.remove_some()
    end)
    return victim, function()
      assert(inside == 0 and w.live == 0)
      local got
      copas.loop(function() got = lock:get(0) end)
      assert(got, "a lock was not given back")
      while not copas.finished() do copas.step() end
    end
  end },

  { "copas: queues, timers, futures", "virtual", function(c)
    local pushed, done = 0, 0
    local w, victim = looping(c, function(w)
      local queue = copas.queue.new()
      for _ = 1, 2 do
        queue:add_worker(function()
          copas.pause(c.random())
          done = done + 1
        end)
      end
      w.add(function()
        for _ = 1, 5 do
          if queue:push(1) then pushed = pushed + 1 end
          copas.pause(c.random())
        end
      end)
      local timer = copas.timer.new { delay = 0.3, recurring = true, callback = function() copas.pause(0.1) end }
      local future = copas.future.addthread(copas.pause, c.random() * 3)
      if c.random(2) == 1 then future:cancel() end
      local answer = { future:get() }
      assert(answer[1] == true or answer[2] == "cancelled")
      w.remove_some()
      timer:cancel()
      queue:finish(100)
    end)
    return victim, function()
      assert(w.live == 0 and done <= pushed)
      -- what was cancelled before it began
      while not copas.finished() do copas.step() end
    end
  end },

  { "copas: a server and its clients", "real", function(c)
    local opened, closed = 0, 0
    local server = assert(socket.bind("127.0.0.1", 0))
    local host, port = server:getsockname()
    local w, victim = looping(c, function(w)
      copas.addserver(server, copas.handler(function(client)
        opened = opened + 1
        local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
        client:send((client:receive() or "nothing") .. "\n")
      end))
      for _ = 1, 3 do
        w.add(function()
          local client = copas.wrap(socket.tcp())
          local _ <close> = setmetatable({}, { __close = function() client:close() end })
          client:settimeout(2)
          client:connect(host, port)
          client:send "tea\n"
          client:receive()
        end)
      end
      w.remove_some()
      while w.live > 0 do copas.pause(0.001) end
      copas.removeserver(server)
    end)
    return victim, function()
      server:close()
      copas.cancelall()
      while not copas.finished() do copas.step() end
      assert(w.live == 0 and opened == closed, "a handler was left")
    end
  end },
}
