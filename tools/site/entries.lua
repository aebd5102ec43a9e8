--- entries.lua - a function of the reference as HTML.
local colour = require "colour"
local html = require "html"

local entries = {}

--- "?table|Headers" with its classes linked.
local function type_words(kind, page)
  local text = html.escape(kind):gsub("%u[%w_]+", function(name) return html.link(page.name(name), name) end)
  return ("<span class=t>%s</span>"):format(text)
end

--- "asyncio.sleep(delay, ...)", "Queue:shutdown([immediate])"
function entries.signature(entry)
  local parts = {}
  for i, param in ipairs(entry.params) do
    local text = (i > 1 and ", " or "") .. param.name
    parts[i] = param.optional and "[" .. text .. "]" or text
  end
  return ("%s(%s)"):format(entry.public, table.concat(parts))
end

--- Options that stand one after the other in a sentence: what stands before them, and each; nil where there are none.
local function options_of(text)
  local first = text:find "`[%w_]+`[^`:;,.]*[:;]"
  local list, at = {}, first
  while at do
    local from = text:find(";%s+`[%w_]+`[^`:;]*[:;,]", at + 1)
    list[#list + 1] = text:sub(at, (from or #text + 1) - 1)
    at = from and from + #text:match("^;%s+", from)
  end
  if #list < 2 then return nil end
  return text:sub(1, first - 1), list
end

local function words_of(text, page)
  local before, options = options_of(text)
  if text:find "\n%- " then return page:render(text) end
  if not options then return page:inline(text) end
  for i, option in ipairs(options) do options[i] = "<li>" .. page:inline(option) .. "</li>" end
  return page:inline(before) .. "<ul>" .. table.concat(options, "\n") .. "</ul>"
end

local function params_of(entry, page, out)
  for _, param in ipairs(entry.params) do
    local kind = param.type and " " .. type_words(param.type, page) or ""
    local default = param.default and " (" .. html.escape(param.default) .. ")" or ""
    if param.optional then kind = kind .. " <span class=t>optional" .. default .. "</span>" end
    out[#out + 1] = ("<dt><code>%s</code>%s</dt><dd>%s</dd>\n"):format(html.escape(param.name), kind,
      words_of(param.text, page))
  end
end

local function row(out, title, text) out[#out + 1] = ("<dt>%s</dt><dd>%s</dd>\n"):format(title, text) end

--- The facts of an entry: what it takes, gives, raises.
local function facts_of(entry, page)
  local out = {}
  params_of(entry, page, out)
  for i, value in ipairs(entry.returns) do
    local kind = value.type and type_words(value.type, page) .. " " or ""
    row(out, i == 1 and "returns" or "and", kind .. page:inline(value.text))
  end
  for _, text in ipairs(entry.raises) do row(out, "raises", page:inline(text)) end
  return out[1] and "<dl>\n" .. table.concat(out) .. "</dl>\n" or ""
end

function entries.examples(entry, page)
  local out = {}
  for _, example in ipairs(entry.examples) do out[#out + 1] = colour.block(example, "lua", page.name) end
  return table.concat(out)
end

--- An entry, with its anchor and the place of its source.
function entries.render(entry, page)
  local source = entry.file and ('<a class=src href="%s" title="%s:%s">%s:%s</a>'):format(page.root .. entry.file,
    entry.file, entry.line, entry.file:match "[^/]*$", entry.line) or ""
  local signature = html.escape(entries.signature(entry)):gsub("^([%w_.]*[.:])", "<small>%1</small>", 1)
  local head = ('<section id="%s">\n<h3><a class=at href="#%s" aria-label="link">#</a><code>%s</code>%s</h3>\n')
    :format(entry.name, entry.name, signature, source)
  return head .. page:render(entry.text) .. facts_of(entry, page) .. entries.examples(entry, page) .. "</section>\n"
end

return entries
