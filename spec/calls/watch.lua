-- Watched folders: whenever a call is cancelled, each event is heard by somebody, once.
local asyncio = require "asyncio"

local fs = asyncio.fs

local function make(path) assert(io.open(path, "w")):close() end

--- Makes n files, now and then.
local function writer(c, folder, n)
  return asyncio.create_task(function()
    for i = 1, n do
      if c.random(3) == 1 then c.pass() end
      make(("%s/%d"):format(folder, i))
    end
  end)
end

--- Takes "created" events, and counts them in `seen`, until there are n.
local function take(watch, folder, seen, n)
  while seen.n < n do
    local event = watch()
    if not event then return end -- it was closed
    local name = assert(event.path:sub(1, #folder) == folder) and event.path:sub(#folder + 2)
    assert(event.kind == "created" and not seen[name], event.path .. " is told twice")
    seen[name] = true
    seen.n = seen.n + 1
  end
end

return {
  { "Watch()", "real", function(c)
    local folder, n, seen = fs.mkdtemp(), c.random(1, 20), { n = 0 }
    local watch = fs.watch(folder, { recursive = c.one_of { true, false } })
    local task = writer(c, folder, n)
    return function() take(watch, folder, seen, n) end, function()
      asyncio.await(task)
      take(watch, folder, seen, n)
      assert(seen.n == n)
      watch:close()
      assert(watch() == nil)
      fs.remove_tree(folder)
    end
  end },

  { "Watch(), by two", "real", function(c)
    local folder, n, seen = fs.mkdtemp(), c.random(2, 20), { n = 0 }
    local watch = fs.watch(folder)
    local task = writer(c, folder, n)
    local function take_all()
      take(watch, folder, seen, n)
      watch:close() -- the other one hears of no more
    end
    local other = asyncio.create_task(take_all)
    return take_all, function()
      asyncio.await(task)
      asyncio.await(other)
      assert(seen.n == n)
      fs.remove_tree(folder)
    end
  end },

  { "Watch(), debounced", "virtual", function(c)
    local folder, n, seen = fs.mkdtemp(), c.random(1, 20), { n = 0 }
    local watch = fs.watch(folder, { debounce = c.one_of { 0.001, 0.5, 5 } })
    local task = writer(c, folder, n)
    return function() take(watch, folder, seen, n) end, function()
      asyncio.await(task)
      take(watch, folder, seen, n)
      watch:close()
      fs.remove_tree(folder)
    end
  end },

  { "fs.watch", "real", function(c)
    local folder = fs.mkdtemp()
    for i = 1, c.random(0, 3) do fs.makedirs(("%s/%d/a/b"):format(folder, i)) end
    local watch
    return function()
      watch = fs.watch(folder, { recursive = true })
      asyncio.sleep(0)
    end, function()
      if watch then
        make(folder .. "/last")
        assert(watch().path == folder .. "/last")
        watch:close()
      end
      fs.remove_tree(folder)
    end
  end },
}
