"""The studies: research questions as plans of training, evaluation and comparison."""
