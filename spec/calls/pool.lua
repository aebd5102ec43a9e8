-- Pool: nothing that it made is lost, and nobody waits beside what is idle.
local asyncio = require "asyncio"

--- Some time, but less than a cancellation waits for `destroy`.
local function brief(c)
  if c.random(2) == 1 then asyncio.sleep(c.random() * 0.5) else asyncio.sleep(0) end
end

--- A pool and a watch over it: what exists, and that there are never more than max.
local function watched(c, opts)
  local alive, most = 0, 0
  local function create()
    c.pass()
    if opts.fails and c.random(6) == 1 then error("no connection", 0) end
    alive = alive + 1
    most = math.max(most, alive)
    assert(alive <= opts.max, "more than max")
    return { alive = true }
  end
  local function destroy(value)
    assert(value.alive and not value.used, "destroyed twice, or while it was used")
    value.alive = false
    brief(c)
    alive = alive - 1
  end
  local function test(value)
    assert(value.alive and not value.used)
    c.pass()
    return c.random(5) > 1
  end
  local pool = asyncio.Pool {
    create = create, destroy = destroy, check = opts.check and test or nil, max = opts.max,
    max_idle = opts.max_idle, idle_timeout = opts.idle_timeout,
  }
  return pool, function()
    local s = pool:stats()
    assert(s.created - s.destroyed == s.idle + s.in_use, "a lease was lost")
    assert(s.waiting == 0 or s.idle == 0, "somebody waits beside what is idle")
    assert(s.in_use + s.idle <= opts.max)
    return s, alive
  end
end

--- Uses it for a while; errors of it or its own.
local function use(pool, look, c)
  for _ = 1, 4 do
    do
      local lease <close> = pool:acquire()
      local value = lease.value
      assert(value.alive and not value.used, "lent twice")
      value.used = true
      look()
      local _ <close> = setmetatable({}, { __close = function() value.used = false end })
      c.pass()
      local what = c.random(6)
      if what == 1 then
        value.used = false
        lease:discard()
      elseif what == 2 then
        value.used = false
        lease:release()
      elseif what == 3 then
        error("of the protocol", 0)
      end
    end
    look()
    c.pass()
  end
end

local function case(name, opts)
  return { name, "virtual", function(c)
    opts.max = c.random(3)
    opts.max_idle = c.one_of { nil, 0, 1 }
    opts.idle_timeout = c.one_of { nil, nil, 0.1, 1 }
    local pool, look = watched(c, opts)
    local others = {}
    for i = 1, c.random(0, 4) do
      others[i] = asyncio.create_task(function()
        for _ = 1, 3 do pcall(use, pool, look, c) end
      end)
      if c.random(3) == 1 then
        asyncio.create_task(function()
          c.pass()
          others[i]:cancel()
        end)
      end
    end
    return function()
      for _ = 1, 3 do
        local ok, err = pcall(use, pool, look, c)
        if not ok and asyncio.isinstance(err, asyncio.CancelledError) then error(err, 0) end
      end
    end, function()
      if opts.shutdown then
        c.pass()
        pool:shutdown()
      end
      if #others > 0 then asyncio.wait(others) end
      asyncio.sleep(100) -- what tasks of the pool destroy is gone
      local s, alive = look()
      assert(s.waiting == 0 and s.in_use == 0, "a lease never came back")
      assert(alive == s.idle, "what was destroyed was not")
      if opts.shutdown then return assert(alive == 0, "something outlives the pool") end
      local leases = {}
      for i = 1, opts.max do
        repeat
          local ok, lease = pcall(pool.acquire, pool)
          leases[i] = ok and lease
        until ok
      end
      s = look()
      assert(s.in_use == opts.max, "a place was lost")
      for i = 1, opts.max do leases[i]:release() end
      pool:shutdown()
      asyncio.sleep(100) -- what had been idle for too long, too
      s, alive = look()
      assert(alive == 0 and s.created == s.destroyed)
    end
  end }
end

return {
  case("Pool:acquire", {}),
  case("Pool:acquire with a check", { check = true }),
  case("Pool:acquire where create fails", { fails = true, check = true }),
  case("Pool:shutdown while it is used", { shutdown = true, check = true, fails = true }),

  { "Pool:shutdown", "virtual", function(c)
    local pool, look = watched(c, { max = 4 })
    local leases = {}
    for i = 1, 4 do leases[i] = pool:acquire() end
    for i = 1, c.random(4) do leases[i]:release() end
    return function()
      c.pass()
      pool:shutdown()
      c.pass()
    end, function()
      pool:shutdown()
      asyncio.sleep(100)
      for i = 1, 4 do leases[i]:release() end
      local s, alive = look()
      assert(alive == 0 and s.created == 4 and s.destroyed == 4, "something outlives the pool")
    end
  end },

  { "leaving a pool's block", "virtual", function(c)
    local pool, look = watched(c, { max = 3 })
    asyncio.get_running_loop():set_exception_handler(function(_, context)
      assert(context.message:find "a pool waits for %d lease", context.message)
    end)
    local task = asyncio.create_task(function()
      for _ = 1, 3 do pcall(use, pool, look, c) end
    end)
    return function()
      local _ <close> = pool
      c.pass()
    end, function()
      pool:shutdown()
      asyncio.await(task)
      asyncio.sleep(100)
      local _, alive = look()
      assert(alive == 0, "something outlives the pool")
    end
  end },
}
