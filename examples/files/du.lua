-- du.lua [FOLDER] - how large is a tree? Its folders are read one after the other, their files looked at
-- by 16 at once.
local asyncio = require "asyncio"
local fs = asyncio.fs

local function human(n)
  for _, unit in ipairs { "bytes", "KiB", "MiB", "GiB" } do
    if n < 1024 or unit == "GiB" then return ("%.4g %s"):format(n, unit) end
    n = n / 1024
  end
end

--- The sizes of those files; one that has gone meanwhile has none.
local function size_of(folder, files)
  local sum = 0
  local sizes = asyncio.map(function(name)
    local ok, stat = asyncio.pcall(fs.lstat, folder .. "/" .. name)
    return ok and stat.size or 0
  end, files, { max_concurrent = 16 })
  for _, size in ipairs(sizes) do sum = sum + size end
  return sum
end

asyncio.run(function(root)
  local folders, files, bytes, unread = 0, 0, 0, 0
  local function note() unread = unread + 1 end
  for folder, _, names in fs.walk(root or ".", { on_error = note }) do
    folders, files = folders + 1, files + #names
    bytes = bytes + size_of(folder, names)
  end
  print(("%d files in %d folders: %s"):format(files, folders, human(bytes)))
  if unread > 0 then print(("%d folders could not be read"):format(unread)) end
end, ...)
