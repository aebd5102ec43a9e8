--- reference.lua - the pages of tools/manual.lua as tables: modules and classes, and what is said of their functions.
local house = require "house"

local reference = {}

--- "[opt=5]" → true, "5".
local function optional(flags)
  if not flags or not flags:find "opt" then return false end
  return true, flags:match "opt=(.*)%]$"
end

--- "{string,...} rest", "?table rest" → both.
local function type_and_rest(text)
  local braces = text:match "^%??%b{}"
  local kind = braces or text:match "^%S*"
  return kind, text:sub(#kind + 1):match "^%s*(.*)$"
end

local read = {} -- what each tag makes of its text, into an entry

local function add_param(entry, flags, kind, text)
  local name, words = text:match "^(%S+)%s*(.*)$"
  local is_optional, default = optional(flags)
  table.insert(entry.params, { name = name, type = kind, optional = is_optional, default = default, text = words })
end

function read.param(entry, flags, text) add_param(entry, flags, nil, text) end
function read.string(entry, flags, text) add_param(entry, flags, "string", text) end
function read.number(entry, flags, text) add_param(entry, flags, "number", text) end
function read.tparam(entry, flags, text)
  local kind, rest = type_and_rest(text)
  add_param(entry, flags, kind, rest)
end
read["return"] = function(entry, _, text) table.insert(entry.returns, { text = text }) end
function read.treturn(entry, _, text)
  local kind, rest = type_and_rest(text)
  table.insert(entry.returns, { type = kind, text = rest })
end
function read.raise(entry, _, text) table.insert(entry.raises, text) end
function read.usage(entry, _, text) table.insert(entry.examples, (text:gsub("^\n", ""))) end
read["function"] = function(entry, _, text) entry.name = text end
function read.module(entry, _, text) entry.name, entry.is_module = text, true end
function read.classmod(entry, _, text) entry.name, entry.is_class = text, true end
function read.section(entry, _, text) entry.section = text end
function read.source(entry, _, text) entry.file, entry.line = text:match "^(.*):(%d+)$" end

--- A block's lines → an entry: `name`, `text`, `params`, `returns`, `raises`, `examples`, `file` and `line`.
local function entry_of(lines, page)
  local entry = { text = {}, params = {}, returns = {}, raises = {}, examples = {} }
  local tag, flags, text
  local function finish()
    if not tag then return end
    local reader = read[tag] or error(("%s: @%s is unknown"):format(page, tag), 0)
    reader(entry, flags, (table.concat(text, "\n"):gsub("%s+$", "")))
  end
  for _, line in ipairs(lines) do
    local name, rest = line:match "^@(%l+)(.*)$"
    if name then
      finish()
      tag, flags = name, rest:match "^%b[]"
      text = { (rest:sub(#(flags or "") + 1):match "^%s*(.*)$") }
    else
      table.insert(tag and text or entry.text, line)
    end
  end
  finish()
  entry.text = table.concat(entry.text, "\n"):gsub("%s+$", "")
  return entry
end

--- A file's blocks: lists of lines without their comment marks.
local function blocks_of(path)
  local blocks, block = {}, nil
  for line in io.lines(path) do
    if line:find "^%-%-%- " then
      block = {}
      table.insert(blocks, block)
    end
    if line == "" then
      block = nil
    elseif block then
      table.insert(block, (line:gsub("^%-%-%-? ?", "")))
    end
  end
  return blocks
end

--- The first sentence of a text.
function reference.summary(text)
  text = text:match "^(.-)\n\n" or text
  text = text:match "^(.-[.:?])%f[%s]" or text
  return (text:gsub("\n", " "):gsub("[.:]$", ""))
end

--- Name → page: `name`, `text`, `examples`; `functions`, in order, each with its `section`'s title; `is_class`.
function reference.read(folder)
  local pages = {}
  for _, path in ipairs(house.files(folder, "*.lua")) do
    local page, section
    for _, lines in ipairs(blocks_of(path)) do
      local entry = entry_of(lines, path)
      if not page then
        page = entry
        page.functions = {}
      elseif entry.section then
        section = entry.text
      else
        entry.section, entry.page = section, page
        table.insert(page.functions, entry)
      end
    end
    pages[page.name] = page
  end
  return pages
end

return reference
