"""A process that computes cells of a study, one after the other; started by `projects.study`, not by people."""

from hemacell.config.jobs import WbcSettings

# What decides which images are on disk: equal for all cells of a study, which are then read once.
_IMAGES = ("data", "wbc_folder", "masks", "mask_from", "limit", "external")


def main() -> None:
    """Answer each line `{"settings": {name: text}}` with the id of the run that holds the result."""
    from hemacell.core.cache import cache_dir
    from hemacell.data.sources.resolve import resolve_data
    from hemacell.execution.local import answer_tasks
    from projects import wbc

    read: dict[tuple[str, ...], wbc.Images] = {}

    def do(message: dict) -> str:
        settings = WbcSettings.from_strings(message["settings"])
        key = tuple(settings.canonical()[name] for name in _IMAGES)
        if key not in read:
            read[key] = wbc.read_images(settings, resolve_data(settings.data, cache_dir()).root)
        return wbc.run(settings, read[key])

    answer_tasks(do)


if __name__ == "__main__":
    main()
