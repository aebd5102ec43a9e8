--- What the REPL offers when Tab is pressed: keywords, globals, fields, methods.
-- @module asyncio.completion
local completion = {}

local KEYWORDS = {
  "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local",
  "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
}

--- The tables where a value's fields and methods are looked up, without calling anything of its own.
local function tables_of(value)
  local tables, seen = {}, {}
  local function add(t)
    while type(t) == "table" and not seen[t] do
      seen[t] = true
      tables[#tables + 1] = t
      local meta = debug.getmetatable(t)
      t = type(meta) == "table" and rawget(meta, "__index")
    end
  end
  if type(value) == "table" then
    add(value)
  else
    local meta = debug.getmetatable(value)
    if type(meta) == "table" then
      local index = rawget(meta, "__index")
      add(type(index) == "table" and index or rawget(meta, "methods")) -- ours have them there, too
    end
  end
  return tables
end

local function field_of(value, name)
  for _, t in ipairs(tables_of(value)) do
    local field = rawget(t, name)
    if field ~= nil then return field end
  end
end

--- The value of `a.b.c`; nil when it can't be found without running something.
local function resolve(path, env)
  local value = env
  for name in path:gmatch "[%a_][%w_]*" do
    value = field_of(value, name)
    if value == nil then return nil end
  end
  return value
end

--- The names that a word, the last one of a line, may be completed to, sorted.
-- @tparam string word such as `asyncio.cr`
-- @tparam table env the globals
-- @treturn {string,...}
function completion.words(word, env)
  local path, separator, prefix = word:match "^([%a_][%w_.]*)([.:])([%w_]*)$"
  if not path then
    path, separator, prefix = "", "", word:match "^[%a_]?[%w_]*$"
    if not prefix then return {} end
  end
  local list, seen = {}, {}
  local function offer(name, value)
    if type(name) ~= "string" or seen[name] or not name:find "^[%a_][%w_]*$" then return end
    if name:sub(1, #prefix) ~= prefix or (prefix == "" and name:sub(1, 1) == "_") then return end
    local meta = debug.getmetatable(value)
    local callable = type(value) == "function" or type(meta) == "table" and meta.__call ~= nil
    if separator == ":" and not callable then return end
    seen[name] = true
    list[#list + 1] = path .. separator .. name
  end
  if path == "" then
    for _, name in ipairs(KEYWORDS) do offer(name) end
  end
  local value = path == "" and env or resolve(path, env)
  if value ~= nil then
    for _, t in ipairs(tables_of(value)) do
      for name, field in next, t do offer(name, field) end
    end
  end
  table.sort(list)
  return list
end

return completion
