-- save.lua [FILE] - settings that many tasks change, saved safely: at every moment the file is whole, and a
-- burst of changes is saved once.
local asyncio = require "asyncio"
local fs = asyncio.fs

local settings, changed = {}, asyncio.Event()

local function set(key, value)
  settings[key] = value
  changed:set()
end

local function as_text()
  local lines = {}
  for key, value in pairs(settings) do lines[#lines + 1] = ("%s = %s\n"):format(key, value) end
  table.sort(lines)
  return table.concat(lines)
end

--- Saves whatever has changed, until it is cancelled; returns how often it did.
local function keep_saved(path, saves)
  while true do
    changed:wait()
    changed:clear()
    -- changes that come meanwhile set the event again
    fs.write_file(path, as_text(), { atomic = true, mode = "600" })
    saves.n = saves.n + 1
  end
end

asyncio.run(function(path)
  local folder = not path and fs.mkdtemp() or nil
  local _ <close> = asyncio.defer(function() if folder then fs.remove_tree(folder) end end)
  path = path or folder .. "/settings"
  local saves = { n = 0 }
  local saver = asyncio.create_task(keep_saved, path, saves)
  asyncio.map(function(i)
    for j = 1, 100 do
      set("task" .. i, j)
      asyncio.sleep(0)
    end
  end, { 1, 2, 3, 4, 5 })
  while changed:is_set() or fs.read_file(path) ~= as_text() do asyncio.sleep(0.01) end
  saver:cancel()
  print("500 changes were saved in", saves.n < 500 and "fewer" or saves.n, "steps:")
  io.write(fs.read_file(path))
end, ...)
