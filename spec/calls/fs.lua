-- Files by their paths: whenever a call is cancelled, it has done all or will do it, or does nothing; and what nobody
-- hears of does not stay.
local asyncio = require "asyncio"
local fs = asyncio.fs

local OLD, NEW = ("old"):rep(1000), ("new"):rep(2000)

--- A folder for the round, and what removes it.
local function folder()
  local at = os.tmpname()
  os.remove(at)
  fs.mkdir(at)
  return at
end

--- Waits until what is left under way has been done: `is_so` holds.
local function wait_until(is_so, what)
  for _ = 1, 5000 do
    if is_so() then return end
    asyncio.sleep(0.001)
  end
  error(what, 0)
end

local function names(at)
  local list = fs.list_dir(at)
  table.sort(list)
  return table.concat(list, " ")
end

--- Removes the folder. A call that was left may still make something there.
local function remove(at)
  wait_until(function() return asyncio.pcall(fs.remove_tree, at) or not fs.exists(at) end, "the folder stays")
end

--- Looks until it is as it should be, and removes the folder.
local function ended_with(at, task, is_so, what)
  wait_until(function() return is_so(task:cancelled()) end, what)
  remove(at)
end

return {
  { "fs.write_file atomic", "real", function()
    local at = folder()
    local path = at .. "/f"
    fs.write_file(path, OLD, { mode = "640" })
    return function() fs.write_file(path, NEW, { atomic = true }) end, function(task)
      ended_with(at, task, function(cancelled)
        local text = fs.read_file(path)
        assert(text == NEW or cancelled and text == OLD, "a part was written")
        assert(fs.stat(path).mode == 416 or cancelled, "the mode was lost")
        return names(at) == "f"
      end, "a file is left")
    end
  end },

  { "fs.read_file", "real", function()
    local at = folder()
    fs.write_file(at .. "/f", NEW)
    return function() return fs.read_file(at .. "/f") end, function(task)
      assert(task:cancelled() or task:result() == NEW)
      fs.remove_tree(at)
    end
  end },

  { "fs.copy_file", "real", function(c)
    local at = folder()
    local n = c.random(0, 300000)
    fs.write_file(at .. "/f", ("x"):rep(n))
    return function() fs.copy_file(at .. "/f", at .. "/g") end, function(task)
      ended_with(at, task, function(cancelled)
        if cancelled and not fs.exists(at .. "/g") then return true end
        return #fs.read_file(at .. "/g") == n and names(at) == "f g"
      end, "the copy is not whole")
    end
  end },

  { "fs.mkdtemp", "real", function()
    local at = folder()
    return function() return fs.mkdtemp { dir = at } end, function(task)
      ended_with(at, task, function(cancelled)
        return cancelled and names(at) == "" or not cancelled and at .. "/" .. names(at) == task:result()
      end, "a folder is left")
    end
  end },

  { "fs.mkstemp", "real", function()
    local at = folder()
    local file
    return function()
      local opened <close>, path = fs.mkstemp { dir = at }
      file = path
      opened:write "x"
    end, function(task)
      ended_with(at, task, function() return names(at) == (file or ""):match "[^/]*$" end, "a file is left")
    end
  end },

  { "fs.makedirs and remove_tree", "real", function(c)
    local at = folder()
    return function()
      for _ = 1, c.random(3) do
        fs.makedirs(at .. "/a/b/c")
        fs.write_file(at .. "/a/b/f", "x")
        fs.remove_tree(at .. "/a")
      end
    end, function(task)
      assert(task:cancelled() or names(at) == "", "something stays")
      remove(at)
    end
  end },

  { "fs.walk, scan_dir, list_dir", "real", function(c)
    local at = folder()
    local n = c.random(2, 30)
    for i = 1, n do fs.makedirs(("%s/%d/x"):format(at, i % 7)) end
    local expected = 1 + 2 * math.min(n, 7)
    return function()
      local count = 0
      for _ in fs.walk(at) do count = count + 1 end
      local entries = 0
      for _ in fs.scan_dir(at) do entries = entries + 1 end
      assert(count == expected and entries == #fs.list_dir(at), "something was passed over")
    end, function(task)
      assert(task:cancelled() or select("#", task:result()) == 0)
      fs.remove_tree(at)
    end
  end },
}
