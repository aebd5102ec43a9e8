-- place.lua - a folder for a spec's files, and how it goes again: without the library, which is what is tested.
local t = require "helper"
local program = require "program"

local place = {}

local function run(command, ...)
  local args = {}
  for i, arg in ipairs { ... } do args[i] = "'" .. arg:gsub("'", "'\\''") .. "'" end
  return os.execute(command .. " " .. table.concat(args, " "))
end

place.run = run

--- A new empty folder's path, and what removes it: a value for `<close>`.
function place.new()
  local path = os.tmpname()
  os.remove(path)
  run("mkdir", path)
  local function remove()
    run("chmod -R u+rwx 2>/dev/null", path)
    run("rm -rf", path)
  end
  return path, setmetatable({}, { __close = remove })
end

--- Calls fn(path, ...) in a task, in such a folder.
function place.within(fn, ...)
  local path, gone = place.new()
  local _ <close> = gone
  t.real(function(_, ...) fn(path, ...) end, ...)
end

--- Writes a file, without the library.
function place.write(path, text)
  local file <close> = assert(io.open(path, "wb"))
  file:write(text)
end

--- All that is in a file, without the library.
place.read = program.content

--- What a command prints, without the last newline.
function place.output(command)
  local pipe <close> = assert(io.popen(command))
  return (t.unhurried(pipe:read "a"):gsub("\n$", ""))
end

function place.is_root() return place.output "id -u" == "0" end

--- Its permissions, in octal digits.
function place.mode_of(path) return place.output("stat -c %a '" .. path .. "'") end

--- fn(path, ...) raises an error of that class, code and path, which is returned.
function place.assert_fails(code, class, fn, path, ...)
  local err = t.assert_raises(class, fn, path, ...)
  t.assertEquals(err.code, code)
  t.assertEquals(err.path, path)
  return err
end

--- How many descriptors this process has open, of the first 1,000.
function place.descriptors()
  local n = 0
  for fd = 0, 999 do
    local file <close> = io.open("/proc/self/fdinfo/" .. fd)
    if file then n = n + 1 end
  end
  return n
end

return place
