-- json.lua - JSON to Lua and back, for the specs and tools that read what we write. `null` is json.null.
local json = { null = setmetatable({}, { __tostring = function() return "null" end }) }

local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }
local read -- (text, at): the value that begins there, and where it ends

local function fail(text, at, what)
  local _, line = text:sub(1, at):gsub("\n", "")
  error(("line %d: %s at %q"):format(line + 1, what, text:sub(at, at + 20)), 0)
end

local function skip(text, at) return text:find("[^ \t\r\n]", at) or #text + 1 end

--- \uXXXX, or two of them for what is beyond U+FFFF: the character, and where it ends.
local function unescape_code(text, at)
  local code = tonumber(text:match("^%x%x%x%x", at) or fail(text, at, "four digits expected"), 16)
  local low = text:match("^\\u([dD][c-fC-F]%x%x)", at + 4)
  if code & 0xfc00 ~= 0xd800 or not low then return utf8.char(code), at + 4 end
  return utf8.char(0x10000 + ((code & 0x3ff) << 10 | tonumber(low, 16) & 0x3ff)), at + 10
end

local function unescape(text)
  local parts, at = {}, 1
  for _ = 1, #text do
    local from = text:find("\\", at, true)
    if not from then break end
    parts[#parts + 1] = text:sub(at, from - 1)
    local c = text:sub(from + 1, from + 1)
    if c == "u" then
      parts[#parts + 1], at = unescape_code(text, from + 2)
    else
      parts[#parts + 1], at = ESCAPES[c] or fail(text, from, "no such escape"), from + 2
    end
  end
  return table.concat(parts) .. text:sub(at)
end

local function read_string(text, at)
  local from = at + 1
  repeat
    at = text:find('["\\%c]', at + 1) or fail(text, from, "a string without an end")
    local c = text:sub(at, at)
    if c == "\\" then at = at + 1 elseif c ~= '"' then fail(text, at, "a control character in a string") end
  until c == '"'
  local string = text:sub(from, at - 1)
  return string:find("\\", 1, true) and unescape(string) or string, at + 1
end

local function read_array(text, at)
  local array, n = {}, 0
  at = skip(text, at + 1)
  if text:sub(at, at) == "]" then return array, at + 1 end
  while true do
    n = n + 1
    array[n], at = read(text, at)
    at = skip(text, at)
    local c = text:sub(at, at)
    if c == "]" then return array, at + 1 end
    if c ~= "," then fail(text, at, "',' or ']' expected") end
    at = at + 1
  end
end

local function read_object(text, at)
  local object = {}
  at = skip(text, at + 1)
  if text:sub(at, at) == "}" then return object, at + 1 end
  while true do
    at = skip(text, at)
    if text:sub(at, at) ~= '"' then fail(text, at, "a name expected") end
    local name
    name, at = read_string(text, at)
    at = skip(text, at)
    if text:sub(at, at) ~= ":" then fail(text, at, "':' expected") end
    object[name], at = read(text, at + 1)
    at = skip(text, at)
    local c = text:sub(at, at)
    if c == "}" then return object, at + 1 end
    if c ~= "," then fail(text, at, "',' or '}' expected") end
    at = at + 1
  end
end

local LITERALS = { ["true"] = true, ["false"] = false, ["null"] = json.null }

function read(text, at)
  at = skip(text, at)
  local c = text:sub(at, at)
  if c == '"' then return read_string(text, at) end
  if c == "{" then return read_object(text, at) end
  if c == "[" then return read_array(text, at) end
  local word = text:match("^%l+", at)
  if word and LITERALS[word] ~= nil then return LITERALS[word], at + #word end
  local number = text:match("^-?%d+%.?%d*[eE]?[-+]?%d*", at)
  local value = number and not number:find "^-?0%d" and not number:find "%.$" and tonumber(number)
  return value or fail(text, at, "no value"), at + #number
end

--- The value that a JSON text holds; an error says the line.
function json.decode(text)
  local value, at = read(text, 1)
  at = skip(text, at)
  if at <= #text then fail(text, at, "something after the end") end
  return value
end

local function quoted(text)
  return '"' .. text:gsub('[%c"\\]', function(c) return ("\\u%04x"):format(c:byte()) end) .. '"'
end

--- A value as JSON: tables with a first element, and empty ones, are arrays; names are in order.
function json.encode(value)
  if type(value) == "string" then return quoted(value) end
  if type(value) ~= "table" or value == json.null then return tostring(value) end
  local parts = {}
  if value[1] ~= nil or next(value) == nil then
    for i, item in ipairs(value) do parts[i] = json.encode(item) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  for name, item in pairs(value) do parts[#parts + 1] = quoted(name) .. ":" .. json.encode(item) end
  table.sort(parts)
  return "{" .. table.concat(parts, ",") .. "}"
end

return json
