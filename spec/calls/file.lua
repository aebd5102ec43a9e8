-- Files: a cancelled read has read nothing, a write is done whole or not at all, nothing stays open.
local asyncio = require "asyncio"
local core = require "asyncio.core"

local function content_of(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

local function put(path, content)
  local file <close> = assert(io.open(path, "wb"))
  file:write(content)
end

--- The number that the next descriptor would have.
local function next_descriptor()
  local file <close> = assert(io.open "/dev/null")
  return core.file_descriptor(file)
end

--- Threads may close what a cancelled call has left, a little later.
local function nothing_stays_open(before)
  for _ = 1, 5000 do
    if next_descriptor() <= before then return end
    asyncio.sleep(0.001)
  end
  error "a descriptor is left"
end

local LINES = {}
for i = 1, 400 do LINES[i] = ("line %d "):format(i) .. ("x"):rep(i * 7 % 90) end
local TEXT = table.concat(LINES, "\n") .. "\n"

--- On a tmpfs, where there is one: each read needs a thread there.
local function name()
  local path = os.tmpname()
  os.remove(path)
  local elsewhere = path:gsub("^.*/", "/dev/shm/")
  local file = math.random(2) == 1 and io.open(elsewhere, "w")
  if not file then return path end
  file:close()
  return elsewhere
end

local function fifo()
  local path = os.tmpname()
  os.remove(path)
  assert(os.execute("mkfifo " .. path))
  return path
end

return {
  { "File:read", "real", function(c)
    local path = name()
    put(path, TEXT)
    local file = asyncio.open(path)
    local n = 0
    return function()
      while n < #LINES do
        if c.random(20) == 1 then asyncio.sleep(0) end
        local two = c.random(2) == 1 and n + 1 < #LINES
        local a, b = file:read("l", table.unpack(two and { "l" } or {}))
        assert(a == LINES[n + 1] and (not two or b == LINES[n + 2]))
        n = n + (two and 2 or 1)
      end
    end, function()
      for i = n + 1, #LINES do assert(file:read() == LINES[i], "a line was lost") end
      assert(file:read() == nil)
      file:close()
      os.remove(path)
    end
  end },

  { "File:read of a FIFO", "real", function(c)
    local path = fifo()
    local file, writer = asyncio.open(path, "r+"), asyncio.open(path, "r+")
    local n = 0
    local writing = asyncio.create_task(function()
      for i = 1, 20 do
        writer:write(LINES[i], "\n"):flush()
        c.pass()
      end
    end)
    return function()
      for i = 1, 20 do
        assert(file:read() == LINES[i])
        n = i
      end
    end, function()
      for i = n + 1, 20 do assert(file:read() == LINES[i], "a line was lost") end
      asyncio.await(writing)
      file:close()
      writer:close()
      os.remove(path)
    end
  end },

  { "File:write", "real", function(c)
    local path = name()
    local file = asyncio.open(path, c.one_of { "w", "a", "w+" })
    local written, under_way = {}, nil
    local piece = ("0123456789"):rep(c.one_of { 1, 100, 7000 })
    return function()
      for i = 1, 10 do
        under_way = ("<%d %s>"):format(i, piece)
        file:write(under_way)
        written[#written + 1] = under_way
        under_way = nil
        if c.random(3) == 1 then file:flush() end
      end
    end, function()
      file:write "end"
      assert(file:seek() == #table.concat(written) + 3 + (content_of(path):find(under_way or "\0", 1, true)
        and #under_way or 0))
      file:close()
      local content = content_of(path)
      local with, without = table.concat(written) .. (under_way or "") .. "end", table.concat(written) .. "end"
      assert(content == with or content == without, "a part was written")
      os.remove(path)
    end
  end },

  { "File:write, several tasks", "real", function(c)
    local path = name()
    local file = asyncio.open(path, "w")
    local done, ended = {}, false
    local function write(i)
      local text = ("%03d"):format(i) .. ("z"):rep(c.one_of { 1, 40000 })
      file:write(text)
      done[#done + 1] = text
    end
    local others = {}
    for i = 1, 4 do
      others[i] = asyncio.create_task(function()
        c.pass()
        write(i)
      end)
    end
    return function()
      for i = 5, 8 do write(i) end
      ended = true
    end, function()
      asyncio.gather(table.unpack(others))
      file:close()
      local content = content_of(path)
      for _, text in ipairs(done) do assert(content:find(text, 1, true), "a write was lost") end
      assert(not ended or #content == #table.concat(done))
      os.remove(path)
    end
  end },

  { "File:seek, truncate, sync", "real", function(c)
    local path = name()
    put(path, TEXT)
    local file = asyncio.open(path, "r+")
    return function()
      for _ = 1, 5 do
        assert(file:seek("set", 100) == 100)
        file:write "0123456789"
        assert(file:seek("cur", -10) == 100 and file:read(10) == "0123456789")
        assert(file:seek "end" == #TEXT)
        file:truncate()
        if c.random(3) == 1 then file:sync() end
      end
    end, function()
      file:close()
      assert(#content_of(path) == #TEXT)
      os.remove(path)
    end
  end },

  { "asyncio.open, lines, <close>", "real", function()
    local path = name()
    put(path, TEXT)
    local before, n = next_descriptor(), 0
    return function()
      for _ = 1, 3 do
        local _ <close> = asyncio.open(path, "a")
        for line in asyncio.lines(path) do
          n = n % #LINES + 1
          assert(line == LINES[n])
        end
      end
    end, function()
      nothing_stays_open(before)
      os.remove(path)
    end
  end },

  { "asyncio.open of a FIFO", "real", function(c)
    local path = fifo()
    local before = next_descriptor()
    local file
    local writing = asyncio.create_task(function()
      c.pass()
      asyncio.open(path, "w"):close()
    end)
    return function() file = asyncio.open(path) end, function()
      local both = asyncio.open(path, "r+") -- lets it go
      asyncio.await(writing)
      both:close()
      if file then file:close() end
      nothing_stays_open(before)
      os.remove(path)
    end
  end },

  { "File:close", "real", function(c)
    local path = name()
    local file = asyncio.open(path, "w")
    file:write(TEXT)
    return function()
      if c.random(2) == 1 then asyncio.sleep(0) end
      file:close()
    end, function(task)
      if task:cancelled() then file:close() end
      for _ = 1, 5000 do
        if content_of(path) == TEXT then break end
        asyncio.sleep(0.001)
      end
      assert(content_of(path) == TEXT, "what was kept back is lost")
      os.remove(path)
    end
  end },
}
