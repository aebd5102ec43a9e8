-- tail.lua FILE [LINES] - what is appended to a file, line by line, as `tail -F` shows it: over rotations,
-- when it is cut, when it comes again. Ends after so many lines, if a number is given.
local asyncio = require "asyncio"
local fs = asyncio.fs

--- What stands at a path; nil if nothing does: in the middle of a rotation there is no log.
local function look(path)
  local ok, found = asyncio.pcall(fs.stat, path)
  if ok then return found end
  if found.code ~= "ENOENT" then error(found, 0) end
end

--- The file at a path, and its number. The path may get another file at any moment, so that is the file's
-- number only if it is the path's before it is opened and behind that; nil if there is no file now.
local function open(path)
  for before in look, path do
    local ok, file = asyncio.pcall(asyncio.open, path, "r")
    local after = look(path)
    if ok and after and after.ino == before.ino then return file, after.ino end
    if ok then
      file:close()
    elseif file.code ~= "ENOENT" then
      error(file, 0)
    end
  end
end

--- Calls `each` with every line that is written to the file from now on, until that returns true.
local function follow(path, each)
  local changes <close> = fs.watch(path) -- before the file is opened: so nothing is missed
  local file, number = open(path)
  local _ <close> = asyncio.defer(function() if file then file:close() end end)
  local rest = ""

  --- Whether `each` has had enough.
  local function read()
    for block in file:lines(65536) do
      rest = rest .. block
      local rest_begins = 1
      for line, after in rest:gmatch "([^\n]*)\n()" do
        if each(line) then return true end
        rest_begins = after
      end
      rest = rest:sub(rest_begins)
    end
  end

  if file then file:seek "end" end
  repeat
    local now = look(path)
    local replaced = now and now.ino ~= number
    if file then
      if now and not replaced and now.size < file:seek "cur" then file:seek("set", 0) end -- it was cut
      if read() then return end
    end
    if replaced then -- the old one has been read to its end
      if file then file:close() end
      file, number = open(path)
      rest = ""
    end
  until not replaced and not changes()
end

asyncio.run(function(path, most)
  local n = 0
  io.stdout:setvbuf "line"
  follow(path or error("FILE expected", 0), function(line)
    print(line)
    n = n + 1
    return n == tonumber(most)
  end)
end, ...)
