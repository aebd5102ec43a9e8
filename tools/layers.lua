-- layers.lua - do the files of src/ include what doc/layers.txt lets them, and nothing else? And would no header of
-- ours be taken for one of the system's, which are looked for in src/ first?
package.path = arg[0]:match "^(.*)/[^/]*$" .. "/?.lua;" .. package.path
local house = require "house"

local rules, modules = house.layers()
local sources = house.files("src", "*.[ch]")
local complaints = {}

local function complain(...) complaints[#complaints + 1] = string.format(...) end

local function exists(name)
  local file = io.open(name)
  return file and file:close()
end

--- Whether a file of room `from` may include that.
local function check(file, line, name)
  local from, to = house.room(file), name:match "^([^/]+)/"
  if name:find("..", 1, true) then return complain("%s:%d: %s leads upwards", file, line, name) end
  if not exists("src/" .. name) then return complain("%s:%d: there is no src/%s", file, line, name) end
  if name == "open.h" or to == from or rules[from]["*"] or to and rules[from][to] or rules[from][name] then return end
  complain("%s:%d: %s may not include %s", file, line, from, name)
end

for _, file in ipairs(sources) do
  local room, line = house.room(file), 0
  if not rules[room] then complain("%s: doc/layers.txt says nothing of %s", file, room) end
  for text in io.lines(file) do
    line = line + 1
    local name = text:match '^%s*#%s*include%s*"([^"]+)"'
    if name and rules[room] then check(file, line, name) end
  end
end

for _, file in ipairs(sources) do
  local room, owners = house.room(file), 0
  for _, module in ipairs(modules) do
    if module.parts[room] then owners = owners + 1 end
  end
  if file:find "%.c$" and owners == 0 then complain("%s is in no module of doc/layers.txt", file) end
end

-- Where the compiler looks for <name>.
local folders = {}
for _, text in ipairs(house.lines((os.getenv "CC" or "cc") .. " -E -Wp,-v -x c /dev/null 2>&1")) do
  folders[#folders + 1] = text:match "^ (/%S*)"
end
if #folders == 0 then complain "the compiler doesn't say where it looks for headers" end
for _, file in ipairs(sources) do
  local name = file:match "^src/(.*%.h)$"
  for _, folder in ipairs(folders) do
    if name and exists(folder .. "/" .. name) then
      complain("%s would be included where the system's <%s> is meant (%s)", file, name, folder)
      break
    end
  end
end

for _, text in ipairs(complaints) do print(text) end
os.exit(#complaints == 0)
