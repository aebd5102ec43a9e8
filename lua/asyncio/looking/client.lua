--- What the commands `ps`, `tree` and `top` share: other processes' monitors are found, and asked.
-- @module asyncio.looking.client
local asyncio = require "asyncio"

local client = {}

local PATIENCE = 2 -- seconds in which a process must go on with its answer
local PROTOCOL = "asyncio%-monitor/1 "
local MOST_BYTES = 1 << 28

--- Something to tell the user, and no more.
local Failure = asyncio.Error:subclass "LookingFailure"
client.Failure = Failure

local function fail(format, ...) error(Failure(format:format(...)), 0) end
client.fail = fail

-- Finding

local function uid_of(path)
  local ok, stat = asyncio.pcall(asyncio.fs.lstat, path)
  return ok and stat.uid or nil, ok and stat.type or nil
end

local own_uid

--- Our user, by a file of ours.
local function our_uid()
  if not own_uid then
    own_uid = uid_of "/proc/self/."
    if not own_uid then
      local pipe <close> = assert(io.popen "id -u")
      own_uid = pipe:read "n"
    end
  end
  return own_uid
end

--- The folders where a user's processes have their sockets; those that aren't the user's own count for
-- nothing.
local function folders_of(uid)
  local runtime = os.getenv "XDG_RUNTIME_DIR"
  local all, folders = { ("/run/user/%d/asyncio"):format(uid), ("/tmp/asyncio-%d"):format(uid) }, {}
  if runtime and uid == our_uid() then table.insert(all, 1, runtime .. "/asyncio") end
  for i, folder in ipairs(all) do
    local owner, kind = uid_of(folder)
    if owner == uid and kind == "directory" and folder ~= all[i - 1] then folders[#folders + 1] = folder end
  end
  return folders
end

--- Root sees everybody's.
local function all_users()
  local users, seen = { our_uid() }, { [our_uid()] = true }
  if our_uid() ~= 0 then return users end
  for parent, pattern in pairs { ["/tmp"] = "^asyncio%-(%d+)$", ["/run/user"] = "^(%d+)$" } do
    local ok, names = asyncio.pcall(asyncio.fs.list_dir, parent)
    for _, name in ipairs(ok and names or {}) do
      local uid = math.tointeger(tonumber(name:match(pattern)))
      if uid and not seen[uid] then
        seen[uid] = true
        users[#users + 1] = uid
      end
    end
  end
  return users
end

--- The sockets of all processes that may be looked at: a list of { pid =, path = }.
function client.sockets()
  local found, seen = {}, {}
  for _, uid in ipairs(all_users()) do
    for _, folder in ipairs(folders_of(uid)) do
      for _, name in ipairs(asyncio.fs.list_dir(folder)) do
        local pid = math.tointeger(tonumber(name:match "^(%d+)%.sock$"))
        if pid and not seen[pid] then
          seen[pid] = true
          found[#found + 1] = { pid = pid, path = folder .. "/" .. name }
        end
      end
    end
  end
  table.sort(found, function(a, b) return a.pid < b.pid end)
  return found
end

local function no_process(pid)
  local owner = uid_of("/proc/" .. pid)
  if not owner and uid_of "/proc/self/." then fail("there is no process %s", pid) end
  if owner and owner ~= our_uid() and our_uid() ~= 0 then fail("%s is another user's", pid) end
  fail("%s has no monitor: asyncio.monitor() or ASYNCIO_MONITOR=1 gives it one", pid)
end

--- What stands for a process: its PID, or its socket's path.
function client.find(name)
  if name:find "/" then return { name = name, path = name } end
  if not name:find "^%d+$" then
    fail("a process's PID, or the path of its socket, expected, got '%s'", name)
  end
  local owner = uid_of("/proc/" .. name) or our_uid()
  for _, folder in ipairs(folders_of(owner)) do
    local path = ("%s/%s.sock"):format(folder, name)
    local _, kind = uid_of(path)
    if kind == "socket" then return { name = name, pid = math.tointeger(name), path = path } end
  end
  no_process(name)
end

-- Asking

local Connection = {}
Connection.__index = Connection

function Connection:close()
  if self.writer then self.writer:abort() end
  self.writer = nil
end

Connection.__close = Connection.close

local function silent(name) fail("%s does not answer: computing or stopped", name) end

--- Calls fn; what is wrong with a connection, in words.
local function guarded(name, fn, ...)
  local results = table.pack(asyncio.pcall(fn, ...))
  local err = results[2]
  if results[1] then return table.unpack(results, 2, results.n) end
  if asyncio.isinstance(err, asyncio.TimeoutError) then silent(name) end
  if asyncio.isinstance(err, asyncio.PermissionError) then fail("%s is another user's", name) end
  local cut_off = asyncio.isinstance(err, asyncio.IncompleteReadError)
  if cut_off or asyncio.isinstance(err, asyncio.OSError) then fail("%s has ended", name) end
  error(err, 0)
end

--- Connects to what `find` or `sockets` gave.
function client.connect(process)
  local name = process.name or tostring(process.pid)
  local reader, writer = guarded(name, asyncio.open_unix_connection, process.path,
    { connect_timeout = PATIENCE, read_timeout = PATIENCE, write_timeout = PATIENCE })
  return setmetatable({ name = name, reader = reader, writer = writer }, Connection)
end

local function read_answer(self)
  local line
  repeat
    line = self.reader:readline()
    if not line then fail("%s has ended", self.name) end
    local kind, rest = line:match("^" .. PROTOCOL .. "(%l+) ?(.-)\n$")
    if kind == "error" then fail("%s: %s", self.name, client.shown(rest)) end
    local n = kind == "ok" and math.tointeger(tonumber(rest))
    if n and n >= 0 and n <= MOST_BYTES then
      if n == 0 then return "" end
      return self.reader:readexactly(n) or fail("%s has ended", self.name)
    end
  until kind ~= "wait"
  fail("%s speaks another protocol: it is of another version of asyncio", self.name)
end

--- The answer, a text. Raises a Failure.
function Connection:ask(question)
  return guarded(self.name, function()
    self.writer:send("asyncio-monitor/1 " .. question .. "\n")
    return read_answer(self)
  end)
end

--- The numbers of its loops.
function Connection:loops()
  local numbers = {}
  for number in self:ask "loops":gmatch "loop\t(%d+)\n" do
    numbers[#numbers + 1] = math.tointeger(tonumber(number))
  end
  if #numbers == 0 then fail("%s has ended", self.name) end
  return numbers
end

-- Reading answers

--- A text that does nothing to a terminal.
function client.shown(text)
  text = text:gsub("[%c\127]", function(c) return ("\\%03d"):format(c:byte()) end)
  return (text:gsub("\xc2[\x80-\x9f]", "?"))
end

local function fields_of(line)
  local fields = {}
  for field in (line .. "\t"):gmatch "([^\t]*)\t" do fields[#fields + 1] = client.shown(field) end
  return fields
end

local function integer(text) return math.tointeger(tonumber(text)) or 0 end

local ADDS = {
  task = function(answer, fields, busy)
    answer.tasks[#answer.tasks + 1] = {
      number = integer(fields[2]), state = fields[3] or "", name = fields[4] or "",
      wait = fields[5] or "", holder = integer(fields[6]), places = {}, awaited = {}, busy = busy,
    }
  end,
  at = function(answer, fields)
    local task = answer.tasks[#answer.tasks]
    if task then table.insert(task.places, { place = fields[2] or "", name = fields[3] or "" }) end
  end,
  ["for"] = function(answer, fields)
    local task = answer.tasks[#answer.tasks]
    for i = 2, task and #fields or 0 do table.insert(task.awaited, integer(fields[i])) end
  end,
}

--- An answer as a table: its numbers by name; `tasks`, a list.
function client.parse(text)
  local answer, busy = { tasks = {}, numbers = {} }, nil
  for line in text:gmatch "([^\n]*)\n" do
    local fields = fields_of(line)
    local add = ADDS[fields[1]]
    if fields[1] == "busy" and fields[3] then
      busy = { busy = integer(fields[2]), scheduled = integer(fields[3]), idle = integer(fields[4]),
               steps = integer(fields[5]) }
    elseif add then
      add(answer, fields, busy)
      busy = nil
    elseif fields[2] then
      answer.numbers[fields[1]] = tonumber(fields[2])
    end
  end
  return answer
end

--- What the system knows of a process: its command line, its threads, its memory in bytes.
function client.facts(pid)
  local facts = { command = "", threads = nil, memory = nil }
  if not pid then return facts end
  local ok, command = asyncio.pcall(asyncio.fs.read_file, ("/proc/%d/cmdline"):format(pid))
  if ok then facts.command = client.shown((command:gsub("%z$", ""):gsub("%z", " "))) end
  local found, status = asyncio.pcall(asyncio.fs.read_file, ("/proc/%d/status"):format(pid))
  if found then
    facts.threads = tonumber(status:match "\nThreads:%s*(%d+)")
    local kb = tonumber(status:match "\nVmRSS:%s*(%d+)")
    facts.memory = kb and kb * 1024
  end
  return facts
end

-- Commands

--- Runs a command's main function: its exit status. What the user is to be told goes to standard error.
function client.run(main, ...)
  local runner <close> = asyncio.Runner()
  runner:get_loop().slow_callback_duration = math.huge -- of many tasks a tree is long
  local ok, err = pcall(runner.run, runner, main, ...)
  if ok then return err or 0 end
  if asyncio.isinstance(err, asyncio.KeyboardInterrupt) then return 130 end
  if not asyncio.isinstance(err, Failure) then error(err, 0) end
  io.stderr:write("asyncio: " .. err.message .. "\n")
  return 1
end

--- A number of bytes in words.
function client.bytes(n)
  if n < 10000 then return ("%d B"):format(n) end
  for _, unit in ipairs { "kB", "MB", "GB" } do
    n = n / 1000
    if n < 10000 or unit == "GB" then return ("%.1f %s"):format(n, unit) end
  end
end

--- Seconds in words.
function client.duration(s)
  if s < 60 then return ("%.1f s"):format(s) end
  s = math.floor(s)
  if s < 3600 then return ("%d:%02d"):format(s // 60, s % 60) end
  return ("%d:%02d:%02d"):format(s // 3600, s % 3600 // 60, s % 60)
end

return client
