--- Names: of keys, of those who take part, of functions.
-- @module asyncio.distributed.keys
local keys = {}

--- What a queue's keys begin with. The braces keep them on one server of a cluster.
function keys.base(queue) return "asyncio:{" .. queue .. "}:" end

local function random_name()
  local file = io.open("/dev/urandom", "rb")
  local bytes = file and file:read(9)
  if file then file:close() end
  if not bytes then bytes = string.pack("I8B", math.random(0), math.random(0, 255)) end
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

keys.random = random_name

local function first_line(path)
  local file <close> = io.open(path)
  return file and file:read "l"
end

--- A worker's: no other ever has it.
function keys.worker()
  local host = first_line "/proc/sys/kernel/hostname" or os.getenv "HOSTNAME" or "worker"
  local stat = first_line "/proc/self/stat"
  local pid = stat and stat:match "^%d+" or "0"
  return ("%s-%s-%s"):format(host:gsub("[^%w._-]", ""), pid, random_name():sub(1, 10))
end

-- Functions

local names = setmetatable({}, { __mode = "k" }) -- by function: { module, key }

local function search(fn)
  local best
  for module, value in pairs(package.loaded) do
    for key, field in next, type(value) == "table" and value or {} do
      if rawequal(field, fn) and type(key) == "string" and not key:find "%." then
        local name = module .. "." .. key
        if not best or #name < #best.name or #name == #best.name and name < best.name then
          best = { name = name, module = module, key = key }
        end
      end
    end
  end
  return best
end

--- The name of a function that stands in a module; nil: in none.
function keys.name_of(fn)
  local known = names[fn]
  local module = known and package.loaded[known.module]
  if not known or type(module) ~= "table" or not rawequal(rawget(module, known.key), fn) then
    known = search(fn)
    names[fn] = known
  end
  return known and known.name
end

return keys
