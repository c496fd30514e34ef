"""What MkDocs calls: it loads this file with the file's folder on the path, and knows events by their names."""

from book.notebooks import (
    on_config as on_config,
    on_env as on_env,
    on_files as on_files,
    on_page_content as on_page_content,
    on_page_context as on_page_context,
    on_page_markdown as on_page_markdown,
    on_post_build as on_post_build,
    on_post_page as on_post_page,
    on_post_template as on_post_template,
    on_startup as on_startup,
)
