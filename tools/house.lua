--- house.lua - what the tools that read the sources share: the table in doc/layers.txt, lists of files, and what C
-- files define and use.
local house = {}

--- The lines that a command prints.
function house.lines(command)
  local list = {}
  local pipe <close> = assert(io.popen(command))
  for line in pipe:lines() do list[#list + 1] = line end
  return list
end

function house.sorted_keys(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

--- The files below a folder whose names match, in order.
function house.files(folder, pattern)
  return house.lines(("find '%s' -name '%s' | LC_ALL=C sort"):format(folder, pattern))
end

function house.read(name)
  local file <close> = assert(io.open(name))
  return file:read "a"
end

--- The table: name (a folder, or a file in src/) → what it may include; C modules in order, each with its name
-- and parts.
function house.layers()
  local rules, modules = {}, {}
  for line in io.lines "doc/layers.txt" do
    local name, mark, rest = line:gsub("#.*", ""):match "^([%w._]+)%s*([:=])%s*(.-)%s*$"
    local words = {}
    for word in (rest or ""):gmatch "%S+" do
      words[#words + 1] = word
      words[word] = true
    end
    if mark == ":" then rules[name] = words end
    if mark == "=" then modules[#modules + 1] = { name = name, parts = words } end
  end
  return rules, modules
end

--- The folder in src/ of a file, or its name when it stands in src/ itself.
function house.room(file) return file:match "^src/([^/]+)" end

--- C without comments, strings and preprocessor lines; every line stays where it is. Macros are put aside:
-- a list of { name, body, line }.
local function plain(text)
  local out, macros, at = {}, {}, 1
  local function blank(piece) out[#out + 1] = piece:gsub("[^\n]+", " ") end
  while at <= #text do
    local from = text:find("[/\"'#]", at)
    if not from then break end
    out[#out + 1] = text:sub(at, from - 1)
    local c, two = text:sub(from, from), text:sub(from, from + 1)
    local last
    if two == "/*" then
      last = select(2, text:find("*/", from + 2, true)) or #text
    elseif two == "//" then
      last = (text:find("\n", from, true) or #text + 1) - 1
    elseif c == '"' or c == "'" then
      last = from + 1
      while last < #text and text:sub(last, last) ~= c do
        last = last + (text:sub(last, last) == "\\" and 2 or 1)
      end
    elseif c == "#" and text:sub(1, from - 1):match "[^\n]*$":find "^%s*$" then
      last = from
      repeat last = text:find("\n", last + 1, true) or #text + 1
      until text:sub(last - 1, last - 1) ~= "\\"
      last = last - 1
      local name, body = text:sub(from, last):match "^#%s*define%s+([%a_][%w_]*)(.*)$"
      if name and body:find "[%w_]%s*%(" then -- what calls nothing is a constant
        macros[#macros + 1] = { name = name, body = body, line = select(2, text:sub(1, from):gsub("\n", "")) + 1 }
      end
    end
    if last then
      blank(text:sub(from, last))
      at = last + 1
    else
      out[#out + 1] = c
      at = from + 1
    end
  end
  out[#out + 1] = text:sub(at)
  return table.concat(out), macros
end

--- The name that a head defines: a function's ("static int f(lua_State *L)"), or a variable's.
local function defined_by(head, is_function)
  head = head:gsub("__attribute__%s*%b()", ""):gsub("_Atomic%s*%b()", ""):gsub("_Pragma%s*%b()", "")
  if is_function then return head:match "([%a_][%w_]*)%s*%(" end
  return head:gsub("%b[]", ""):match "([%a_][%w_]*)%s*$"
end

--- What a file defines, in order: { name, body (with its head), line, lines, is_function, is_static }.
function house.definitions(file)
  local text, macros = plain(house.read(file))
  local list = {}
  for _, m in ipairs(macros) do
    list[#list + 1] = { name = m.name, body = m.body, line = m.line, is_static = file:find "%.c$" ~= nil }
  end
  local at, start = 1, 1 -- start: of the head
  local function add(head, last, is_function)
    local name, from = defined_by(head, is_function), start + #text:sub(start):match "^%s*"
    local body = text:sub(from, last)
    list[#list + 1] = {
      name = name, body = body, is_function = is_function,
      is_static = head:find "%f[%w_]static%f[^%w_]" ~= nil and file:find "%.c$" ~= nil,
      line = select(2, text:sub(1, from - 1):gsub("\n", "")) + 1,
      lines = select(2, body:gsub("\n", "")) + 1,
    }
  end
  while true do
    local stop = text:find("[;{=(]", at)
    if not stop then break end
    local c = text:sub(stop, stop)
    if c == "(" then
      at = select(2, text:find("%b()", stop)) + 1
    elseif c == ";" then
      at, start = stop + 1, stop + 1
    elseif c == "=" then
      local last = stop
      repeat
        last = assert(text:find("[;{]", last + 1), file)
        local brace = text:sub(last, last) == "{"
        if brace then last = select(2, text:find("%b{}", last)) end
      until not brace
      add(text:sub(start, stop - 1), last, false)
      at, start = last + 1, last + 1
    else
      local head, last = text:sub(start, stop - 1), select(2, text:find("%b{}", stop))
      assert(last, file .. ": a brace is never closed")
      at = last + 1
      if head:find "%)[%s%w_]*$" and not head:find "^%s*typedef" then
        add(head, last, true)
        start = at
      end
    end
  end
  return list
end

--- The names that a piece of C uses; fields of structs are none.
function house.names_in(body)
  local names = {}
  for before, name in (" " .. body:gsub("%->", ".")):gmatch "([^%w_])([%a_][%w_]*)" do
    names[name] = names[name] or before ~= "."
  end
  return names
end

return house
