"""The vocabulary of the tiny reference models."""

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CHARACTERS = list("春江潮水連海平明月共生灩隨波千萬里何處無人花林皆似霰空流霜不覺飛汀上白沙看見天一色")
# Upper and lower case, so that a tokenizer which ignores do_lower_case gives other ids.
VOCABULARY = SPECIAL + CHARACTERS + ["A", "a", "##平"]
