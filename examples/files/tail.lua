-- tail.lua FILE [LINES] - what is appended to a file, line by line, as `tail -F` shows it: over rotations,
-- when it is cut, when it comes again. Ends after so many lines, if a number is given.
local asyncio = require "asyncio"
local fs = asyncio.fs

--- Calls `each` with every line that is written to the file from now on, until that returns true.
local function follow(path, each)
  local changes <close> = fs.watch(path) -- before the file is opened: so nothing is missed
  local file, number, rest = nil, nil, ""

  local function open()
    file, number, rest = asyncio.open(path, "r"), fs.stat(path).ino, ""
  end

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

  open()
  file:seek "end"
  local _ <close> = asyncio.defer(function() file:close() end)
  repeat
    local now = fs.exists(path) and fs.stat(path)
    local replaced = now and now.ino ~= number
    if now and not replaced and now.size < file:seek "cur" then file:seek("set", 0) end -- it was cut
    if read() then return end
    if replaced then -- the old one has been read to its end
      file:close()
      open()
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
