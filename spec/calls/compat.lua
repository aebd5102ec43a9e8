-- compat: tasks of vim.async are closed, and wait, at random: permits come back, owners end after what is theirs,
-- each handle is closed once; a module is loaded whole, or once more.
local asyncio = require "asyncio"
local compat = asyncio.compat
local vim_async = compat.vim_async
local loading = compat.require

local MODULE = [[
CALLS_COMPAT.begun = CALLS_COMPAT.begun + 1
CALLS_COMPAT.pass()
CALLS_COMPAT.whole = CALLS_COMPAT.whole + 1
return { CALLS_COMPAT.whole }
]]

--- What tasks have open: `c` says how long things take.
local function world(c)
  local w = { live = 0, handles = 0, closed = 0 }
  --- A wait with a handle, which may be called back at once, later or never.
  function w.wait()
    local kind = c.random(4)
    vim_async.await(function(callback)
      local loop = asyncio.get_running_loop()
      if kind == 1 then return callback() end
      local open, timer = true, kind < 4 and loop:call_later(c.random() * 2, callback)
      w.handles = w.handles + 1
      return { close = function(_, closed)
        assert(open, "a handle was closed twice")
        open = false
        if timer then timer:cancel() end
        w.closed = w.closed + 1
        if c.random(2) == 1 then closed() else loop:call_soon(closed) end
      end }
    end)
  end
  return w
end

local function grow(c, w, depth)
  w.live = w.live + 1
  local _ <close> = setmetatable({}, { __close = function() w.live = w.live - 1 end })
  for _ = 1, c.random(0, 3) do
    if depth > 0 then
      local child = vim_async.run(grow, c, w, depth - 1)
      local choice = c.random(5)
      if choice == 1 then vim_async.pawait(child) end
      if choice == 2 then child:close() end
      if choice == 3 then pcall(vim_async.await, child) end
      if choice == 4 then vim_async.pawait(vim_async.run(vim_async.timeout, c.random(1500), child)) end
    end
    if c.random(12) == 1 then error("chance", 0) end
    w.wait()
  end
  return "whole"
end

return {
  { "vim_async: a tree of tasks", "virtual", function(c)
    local w, root = world(c), nil
    return function()
      root = vim_async.run(grow, c, w, 3)
      asyncio.get_running_loop():call_later(10, root.close, root) -- some waits have no end
      if c.random(2) == 1 then return asyncio.await(root) end
      root:pwait(c.random(4000))
    end, function()
      if not root then return end
      root:close()
      root:pwait()
      assert(root:completed() and w.live == 0, "an owner ended before what is its own")
      assert(w.handles == w.closed, "a handle was not closed")
    end
  end },

  { "asyncio.await of a task of vim_async", "virtual", function(c)
    local w, ended, root = world(c), false, nil
    return function()
      root = vim_async.run(function()
        local _ <close> = setmetatable({}, { __close = function() ended = true end })
        for _ = 1, c.random(3) do w.wait() end
      end)
      asyncio.get_running_loop():call_later(c.random() * 3, root.close, root)
      asyncio.await(root)
    end, function()
      if not root then return end
      root:pwait()
      assert(ended and w.handles == w.closed, "something was left")
    end
  end },

  { "vim_async: semaphores", "virtual", function(c)
    local permits = c.random(3)
    local semaphore, inside, most = vim_async.semaphore(permits), 0, 0
    local tasks = {}
    local function work()
      semaphore:with(function()
        inside = inside + 1
        most = math.max(most, inside)
        local _ <close> = setmetatable({}, { __close = function() inside = inside - 1 end })
        vim_async.sleep(c.random(100))
      end)
    end
    return function()
      for i = 1, 8 do tasks[i] = vim_async.run(work) end
      for _ = 1, 4 do
        c.pass()
        tasks[c.random(8)]:close()
      end
      for i = 1, 8 do tasks[i]:pwait() end
    end, function()
      for _, task in ipairs(tasks) do
        task:close()
        task:pwait()
      end
      assert(most <= permits and inside == 0, "too many were inside")
      vim_async.run(function()
        for _ = 1, permits do semaphore:acquire() end
      end):wait(0)
    end
  end },

  { "compat.require", "virtual", function(c)
    local path = os.tmpname()
    os.remove(path)
    local name = path:match "[^/]*$" .. "_module"
    local file <close> = assert(io.open(("/tmp/%s.lua"):format(name), "w"))
    file:write(MODULE)
    file:close()
    local kept = package.path
    package.path = "/tmp/?.lua;" .. kept
    local counts = { begun = 0, whole = 0, pass = c.pass }
    rawset(_G, "CALLS_COMPAT", counts)
    local others = {}
    for i = 1, c.random(0, 3) do others[i] = asyncio.create_task(loading, name) end
    return function() return loading(name) end, function()
      for _, other in ipairs(others) do asyncio.await(other) end
      local module = loading(name)
      package.path = kept
      os.remove(("/tmp/%s.lua"):format(name))
      assert(counts.whole == 1 and module[1] == 1, "it was loaded twice")
      for _, other in ipairs(others) do assert(other:result() == module) end
    end
  end },
}
