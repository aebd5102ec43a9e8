--- How the REPL shows a table: its content, as Lua would write it, within limits.
-- @module asyncio.show
local core = require "asyncio.core"

local show = {}

local WIDTH = 80  -- columns that a line should keep within
local DEPTH = 4   -- tables within tables that are opened
local ITEMS = 100 -- shown of one table ...
local TOTAL = 300 -- ... and of all together; an outer table's come first
local TEXT = 200  -- bytes of a string within a table
local MOST_SORTED = 10000 -- keys; of a larger table those that come first are shown

local KEYWORDS = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then
  true until while]]):gmatch "%a+" do
  KEYWORDS[word] = true
end

local function field_of(meta, name)
  return type(meta) == "table" and rawget(meta, name) or nil
end

local function quoted(text)
  local more = #text - TEXT
  if more > 0 then text = text:sub(1, TEXT) end
  local written = ("%q"):format(text):gsub("\\\n", "\\n"):gsub("\\9", "\\t"):gsub("\\13", "\\r")
  return more > 0 and ("%s... %d more"):format(written, more) or written
end

--- A value that is not opened.
local function plain(value)
  if type(value) == "string" then return quoted(value) end
  local ok, text = pcall(tostring, value)
  return ok and text or ("<error in __tostring: %s>"):format(core.words(text))
end

local ORDER = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  local x, y = ORDER[type(a)] or 4, ORDER[type(b)] or 4
  if x ~= y then return x < y end
  if x <= 2 then return a < b end
  return plain(a) < plain(b)
end

--- Its keys that stand in no list, in order; how many more there are.
local function keys_of(t, length)
  local keys, more = {}, 0
  for key in next, t do
    if math.type(key) == "integer" and key >= 1 and key <= length then -- luacheck: ignore 542
    elseif #keys < MOST_SORTED then
      keys[#keys + 1] = key
    else
      more = more + 1
    end
  end
  pcall(table.sort, keys, before) -- a key's `__tostring` may say something else each time
  return keys, more
end

local function length_of(t)
  local n = 0
  while rawget(t, n + 1) ~= nil do n = n + 1 end
  return n
end

local function is_name(key)
  return type(key) == "string" and key:find "^[%a_][%w_]*$" and not KEYWORDS[key]
end

local render

--- One item: `key = value`; without a key where it stands in the list.
local function item(state, key, value, depth, indent)
  local prefix = key == nil and "" or (is_name(key) and key or "[" .. plain(key) .. "]") .. " = "
  return prefix .. render(state, value, depth + 1, indent + 2, indent + 2 + #prefix)
end

--- Its items in words, and whether all are short ones of a list.
local function items_of(state, t, depth, indent)
  local length = length_of(t)
  local keys, more = keys_of(t, length)
  local n = math.min(length + #keys, ITEMS, state.left)
  more = more + length + #keys - n
  state.left = state.left - n
  local items, listed = {}, true
  for i = 1, n do
    local key = keys[i - length] -- nil in the list
    items[i] = item(state, key, rawget(t, key == nil and i or key), depth, indent)
    listed = listed and key == nil and #items[i] <= WIDTH // 4 and not items[i]:find "[\n{]"
  end
  if more > 0 then items[#items + 1] = ("... %d more"):format(more) end
  return items, listed
end

--- Several short ones to a line.
local function fill(items, margin)
  local lines, line = {}, nil
  for i, text in ipairs(items) do
    if i < #items then text = text .. "," end
    if line and #margin + #line + 1 + #text <= WIDTH then
      line = line .. " " .. text
    else
      lines[#lines + 1], line = line, text
    end
  end
  lines[#lines + 1] = line
  return lines
end

--- column: where it begins, on a line that is indented so far
local function lay_out(items, listed, indent, column)
  local flat = "{ " .. table.concat(items, ", ") .. " }"
  if column + #flat <= WIDTH and not flat:find "\n" then return flat end
  local margin = (" "):rep(indent + 2)
  local body = listed and table.concat(fill(items, margin), "\n" .. margin)
    or table.concat(items, ",\n" .. margin)
  return ("{\n%s%s\n%s}"):format(margin, body, (" "):rep(indent))
end

function render(state, value, depth, indent, column)
  if type(value) ~= "table" then return plain(value) end
  local meta = debug.getmetatable(value)
  if field_of(meta, "__tostring") then return plain(value) end
  local name = field_of(meta, "__name")
  name = type(name) == "string" and name .. " " or ""
  if state.within[value] then return name .. "<cycle>" end
  if next(value) == nil then return name .. "{}" end
  if depth > DEPTH or state.left == 0 then return name .. "{...}" end
  state.within[value] = true
  local items, listed = items_of(state, value, depth, indent)
  state.within[value] = nil
  return name .. lay_out(items, listed, indent, column + #name)
end

--- A table in words: what it holds, keys in order. What has a `__tostring` says itself what it is; a `__name`
-- stands before. Nothing else of a metatable's is called.
-- @tparam table t
-- @treturn string
function show.table(t)
  return render({ left = TOTAL, within = {} }, t, 1, 0, 0)
end

return show
